"""From an entry of build.yaml to a folder with its sources: local, from a cache, from a registry."""
