"""Runs a policy without a gateway: for its author's tests, and on recorded exchanges.

`gatewright.testing` is how tests reach this package, and `gatewright replay` how people do. Its modules are the
gateway's own. Nothing that a policy imports while it serves requests imports them.
"""
