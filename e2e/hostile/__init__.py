"""A hostile policy in a gateway that is full of secrets: the targets that it reaches at each level of isolation."""
