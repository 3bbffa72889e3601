"""Recorded exchanges as people read them: one on a line each, or one explained. Nothing here knows their source."""
