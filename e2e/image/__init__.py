"""The container image: built without a container engine, and run as root."""
