"""The work of `gatewright node`."""
