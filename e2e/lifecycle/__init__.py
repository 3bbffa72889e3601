"""A node from its build to its stop: starts, reloads, deployments, live changes, processes that die."""
