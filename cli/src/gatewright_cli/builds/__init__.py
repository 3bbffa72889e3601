"""Builds: made by the builder in a process of their own, and what they leave on disk."""
