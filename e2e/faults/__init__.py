"""Faults under real load, and their allowed cost: a row breaks one thing and accounts for every request."""
