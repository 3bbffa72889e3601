"""The nodes: what each one is sent, what it runs, and what it reports of itself and of its exchanges."""
