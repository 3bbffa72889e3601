"""Messages that pass through a gateway: rows of a table, each a conversation of client and upstream."""
