"""`python -m bench scale`: many APIs on one node: bulk and single changes, memory, and the cost of a request."""
