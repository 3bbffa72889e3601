"""Measurements of executors without a gateway: `python -m bench executor`."""
