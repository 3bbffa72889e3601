"""`gatewright run`: from options to a node that serves, its changes while it runs, and its end."""
