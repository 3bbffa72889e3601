"""What a process is to its machine: sockets and who connects to them, private files, logs, metrics.

The command line's supervisor has these too: each module imports as little as it can.
"""
