"""The commands, one file each, and their output. They import other rooms when they run."""
