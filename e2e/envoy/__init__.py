"""The behaviour of Envoy itself that we rely on, with our bootstrap and the controller's configuration."""
