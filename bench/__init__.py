"""Measurements over HTTP. `python -m bench` measures the rows of bench/rows.py against each other in one run."""
