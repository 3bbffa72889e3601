"""How each process of a node is started, checked and stopped: command, environment, limits, drain."""
