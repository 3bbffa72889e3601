"""Executor processes while a node runs: replaced without a lost execution, recycled, and found to hang."""
