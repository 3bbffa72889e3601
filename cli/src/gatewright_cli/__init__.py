"""The `gatewright` command, and the supervisor of a node's processes."""
