"""A real Prometheus beside a gateway: its programs, its process, and what the files of deploy/ ask of it."""
