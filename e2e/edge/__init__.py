"""The edge of a node: listeners, TLS, HTTP/1.1 to HTTP/3, upgrades, and every shape of a message."""
