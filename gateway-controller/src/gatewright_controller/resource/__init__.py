"""What resources say, one kind of thing in each module: how it is written, compared, and shown to people."""
