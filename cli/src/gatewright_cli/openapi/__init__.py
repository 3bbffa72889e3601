"""Converts OpenAPI documents to `Api` resources and back.

source       bytes → document with lines, references inside of it
servers      servers → the upstream's URL and the context
paths        path templates → paths of an `Api`
security     security requirements → comments
operations   path items → operations
importing    combines these, and validates the result as the controller does
api_text     an API as YAML, with comments
exporting    an API → a document
"""

from gatewright_cli.openapi.exporting import export_openapi
from gatewright_cli.openapi.importing import Choices, Imported, import_openapi
from gatewright_cli.openapi.source import MAX_BYTES, Note

__all__ = ["MAX_BYTES", "Choices", "Imported", "Note", "export_openapi", "import_openapi"]
