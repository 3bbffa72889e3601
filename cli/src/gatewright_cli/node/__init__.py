"""One node: its processes and their options, files and sockets, and the interfaces that they are asked by."""
