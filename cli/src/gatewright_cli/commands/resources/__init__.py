"""`gatewright get`, `list`, `delete` and `wait`: the kinds of resources, how they are shown, and what ends a wait."""
