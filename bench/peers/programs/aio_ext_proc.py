"""An ext_proc server in Python with grpc.aio: aio_ext_proc.py SOCKET."""

import asyncio
import sys
from collections.abc import AsyncIterator

import grpc.aio
from envoy.service.ext_proc.v3 import external_processor_pb2 as pb
from envoy.service.ext_proc.v3 import external_processor_pb2_grpc
from ext_proc_answers import answer


class Processor(external_processor_pb2_grpc.ExternalProcessorServicer):
    async def Process(  # noqa: N802 (the service's name for it)
        self, requests: AsyncIterator[pb.ProcessingRequest], _: grpc.aio.ServicerContext
    ) -> AsyncIterator[pb.ProcessingResponse]:
        async for request in requests:
            yield answer(request)


async def serve(socket: str) -> None:
    server = grpc.aio.server()
    external_processor_pb2_grpc.add_ExternalProcessorServicer_to_server(Processor(), server)
    server.add_insecure_port(f"unix:{socket}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
