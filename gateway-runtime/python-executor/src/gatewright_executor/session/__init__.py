"""One engine: its connection is read, its executions are accepted, its answers are framed."""
