"""gRPC calls that fail at first."""

from __future__ import annotations

from collections import Counter
from typing import Any

import grpc


class Calls(grpc.GenericRpcHandler):
    """A service that fails each method's first calls with UNAVAILABLE, then answers with the number of calls."""

    def __init__(self, failures: int) -> None:
        self.failures, self.calls = failures, Counter[str]()

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
            self.calls[details.method] += 1
            if self.calls[details.method] <= self.failures:
                context.abort(grpc.StatusCode.UNAVAILABLE, "not yet")
            return request + str(self.calls[details.method]).encode()

        return grpc.unary_unary_rpc_method_handler(answer)
