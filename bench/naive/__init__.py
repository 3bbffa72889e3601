"""A naive executor, for comparison."""
