"""Validates API definitions, keeps them, and brings them to the nodes.

api → model ← store; translate (pure: resource and definitions in, bundle out) → node server.
"""

API_DOCUMENT = "an object with apiVersion, kind, metadata and spec"
"""What a document of an API is, in the words of mistakes. Here, so that nothing else is loaded for it."""
