from .more import on_request as on_request
