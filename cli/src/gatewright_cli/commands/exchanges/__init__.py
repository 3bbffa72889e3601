"""Recorded exchanges: the options that select them, the stream of them, and files of one."""
