"""Processes: started, watched, restarted, stopped, and what they log. Imports nothing else of this package."""
