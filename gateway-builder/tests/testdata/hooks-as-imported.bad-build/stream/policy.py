from .more import on_request_stream as on_request_stream
