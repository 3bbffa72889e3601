"""What a write of an API does: it is valid, kept, translated and handed to the nodes."""
