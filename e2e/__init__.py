"""A whole gateway, from outside: by its commands, its HTTP API, its files, and what its clients and upstreams see."""
