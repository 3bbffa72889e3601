"""Where a request goes: hosts, paths and matches, upstreams and their pools, retries and choices."""
