"""A real Prometheus beside a gateway: its programs, its process, and the files of deploy/."""
