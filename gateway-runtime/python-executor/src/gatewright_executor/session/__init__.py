"""Serves one engine: reads its connection, accepts its executions, and frames the answers."""
