"""Certificates that the gateway obtains and renews by itself (RFC 8555, challenges by http-01)."""
