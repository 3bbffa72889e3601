"""The process that runs Gatewright's Python policies.

In layers; each knows those below it only:

    main
    server, testing
    session                one engine's connection and stream: executions in, answers out
    running                where and when an execution runs
    convert                protobuf to the SDK's values, and back
    policies               the policies of the build
    grpc                   HTTP/2 and gRPC on a Unix socket; knows nothing of the three above
    critical_thread, logs, memory, process_privacy, replacement, _gen

ARCHITECTURE.md lists the stations of one execution.
"""
