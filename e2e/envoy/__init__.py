"""What Envoy itself does, with our bootstrap and with what the controller renders: all that we rely on in it."""
