"""Executors alone, without a gateway: `python -m bench executor`."""
