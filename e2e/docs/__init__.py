"""The documentation, executed: its samples, commands, tutorials and names."""
