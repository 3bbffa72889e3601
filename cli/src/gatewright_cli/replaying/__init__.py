"""Recorded exchanges, replayed against a policy's code in a process of its own."""
