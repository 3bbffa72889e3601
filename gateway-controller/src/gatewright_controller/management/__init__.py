"""The management API: what clients send, what they are answered, and the HTTP server between them."""
