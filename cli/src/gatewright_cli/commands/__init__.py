"""The commands, one file each, and what they print. They import what they need when they run."""
