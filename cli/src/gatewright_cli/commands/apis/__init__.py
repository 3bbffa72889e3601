"""APIs of files: written to a controller, alone or with a reload, and converted from OpenAPI and back."""
