"""An ext_proc server in Python with grpc's threads: sync_ext_proc.py SOCKET."""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
from envoy.service.ext_proc.v3 import external_processor_pb2 as pb
from envoy.service.ext_proc.v3 import external_processor_pb2_grpc
from ext_proc_answers import answer

THREADS = 320
"""More than there are connections, since an exchange keeps a thread from its request to its response."""


class Processor(external_processor_pb2_grpc.ExternalProcessorServicer):
    def Process(  # noqa: N802 (the service's name for it)
        self, requests: Iterator[pb.ProcessingRequest], _: grpc.ServicerContext
    ) -> Iterator[pb.ProcessingResponse]:
        return map(answer, requests)


def serve(socket: str) -> None:
    server = grpc.server(ThreadPoolExecutor(THREADS))
    external_processor_pb2_grpc.add_ExternalProcessorServicer_to_server(Processor(), server)
    server.add_insecure_port(f"unix:{socket}")
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    serve(sys.argv[1])
