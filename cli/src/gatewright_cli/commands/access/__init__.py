"""`gatewright token`, `whoami` and `audit`: who may do what at a controller, and who did what."""
