"""What the rooms of tests share: gateways, clients, upstreams, certificates, and programs of others. No tests."""
