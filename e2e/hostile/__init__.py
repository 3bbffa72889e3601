"""A hostile policy in a gateway that is full of secrets: what it reaches at each level of isolation."""
