"""What clients meet at a node's door: listeners, TLS, HTTP/1.1 to HTTP/3, upgrades, and every shape of a message."""
