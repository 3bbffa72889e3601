"""Recorded exchanges as people read them: a line each, or one explained. Knows nothing of where they come from."""
