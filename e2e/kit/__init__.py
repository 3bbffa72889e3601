"""What the rooms share, with no test in it: gateways, clients, upstreams, certificates, and programs of others."""
