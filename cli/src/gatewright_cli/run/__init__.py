"""`gatewright run`: from options to a node that serves, what changes while it does, and its end."""
