"""Starts, watches, restarts and stops processes, and relays their logs. Imports nothing else of this package."""
