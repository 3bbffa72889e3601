"""Builds, made by the builder in a process of their own, and their output on disk."""
