"""A gRPC server over HTTP/2 on a Unix socket. Knows no policies, no worker threads, and none of our messages."""
