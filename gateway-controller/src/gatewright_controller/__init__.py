"""Validates API definitions, keeps them, and brings them to the nodes.

api → model ← store; translate (pure: resource and definitions in, bundle out) → node server.
"""
