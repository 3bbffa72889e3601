"""Signed states of nodes: fetched from a controller, written to a place, and shown."""
