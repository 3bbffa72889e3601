"""The status of a run: gathered, judged, and shown as tables."""
