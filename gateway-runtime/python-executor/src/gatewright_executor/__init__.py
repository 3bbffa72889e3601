"""The process that runs Gatewright's Python policies.

Its layers, each of which imports only those below it:

    main
    server, testing
    session                an engine's connection and stream: executions in, answers out
    running                where and when an execution runs
    convert                protobuf to the SDK's values, and back
    policies               the policies of the build
    grpc                   HTTP/2 and gRPC on a Unix socket; imports none of the four above
    critical_thread, logs, memory, process_privacy, replacement, _gen

ARCHITECTURE.md lists the files that one execution passes.
"""
