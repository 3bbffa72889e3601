"""OpenAPI documents and `Api` resources: the one becomes the other.

source       bytes → document with lines, references inside of it
servers      servers → the upstream's URL and the context
paths        path templates → ours
security     security requirements → what a comment says of them
operations   path items → operations
importing    wires these, and holds the result to the controller's validation
api_text     an API as YAML, with comments
exporting    an API → a document
"""

from gatewright_cli.openapi.exporting import exported
from gatewright_cli.openapi.importing import Choices, Imported, imported
from gatewright_cli.openapi.source import MAX_BYTES, Note

__all__ = ["MAX_BYTES", "Choices", "Imported", "Note", "exported", "imported"]
