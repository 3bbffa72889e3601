"""One node: its processes with their options, files and sockets."""
