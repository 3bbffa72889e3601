"""A gRPC server over HTTP/2 on a Unix socket, independent of policies, worker threads and the executor's messages."""
