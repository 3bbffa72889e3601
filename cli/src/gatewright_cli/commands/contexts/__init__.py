"""`gatewright context`: changes of the contexts file, and what it holds."""
