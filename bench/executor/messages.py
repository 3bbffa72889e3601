"""The messages of each protocol: one execution, with the headers of a browser's request."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from gatewright_executor._gen import python_executor_pb2 as pb

from bench import request
from bench.naive._gen import naive_pb2 as naive

REQUEST, RESPONSE, BODY = "request", "response", "body"
PARAMS = {"headerName": "X-Python-Policy", "headerValue": "1"}
EXPECT = "x-tenant"  # a text in the answer of the echo server
BODY_BYTES = 16 << 10
TIMEOUT_US = 20_000_000
REQUEST_HEADERS = {name.lower(): value for name, value in request.HEADERS.items()} | {
    "x-request-id": "5d9e2e8a-6f0a-9f5c-8a57-0d1f3c0a77aa",
    "x-forwarded-for": "10.0.0.1",
    "x-forwarded-proto": "https",
}
RESPONSE_HEADERS = {
    "content-type": "application/json",
    "content-length": "512",
    "date": "Tue, 24 Nov 2026 12:00:00 GMT",
    "server": "upstream/1.0",
    "cache-control": "no-store",
    "vary": "accept-encoding",
    "etag": '"33a64df551425fcc55e4d42a148795d9f25f89d4"',
    "x-frame-options": "DENY",
    "x-internal": "1",
    "strict-transport-security": "max-age=63072000",
}


def execution(kind: str) -> bytes:
    """An execution of python_executor.proto, without its id."""
    message = pb.Execution(
        instance=1,
        phase=pb.PHASE_REQUEST,
        timeout_us=TIMEOUT_US,
        request_id=b"5d9e2e8a-6f0a-9f5c-8a57-0d1f3c0a77aa",
        method=b"GET",
        path=b"/orders/4711",
        query=b"full=1",
        scheme=b"https",
        authority=b"api.example.com",
        client_address=b"10.0.0.1:51234",
        operation=b"GET /orders/{id}",
        request_headers=blob(REQUEST_HEADERS),
    )
    if kind == RESPONSE:
        message.phase, message.status, message.response_headers = pb.PHASE_RESPONSE, 200, blob(RESPONSE_HEADERS)
    if kind == BODY:
        message.request_body = b"b" * BODY_BYTES
    return message.SerializeToString()


def configure(policy: str, params: Mapping[str, object], workers: int) -> bytes:
    """The frame that configures instance 1, which may use all workers."""
    parameters = json.dumps({**PARAMS, **params}).encode()
    instance = pb.ConfigureInstance(
        instance=1, policy_name=policy, policy_version="v1.0.0", parameters=parameters, max_concurrency=workers
    )
    return pb.RequestFrame(configure=[instance]).SerializeToString()


def naive_execution(kind: str) -> bytes:
    """An execution of naive.proto, without its id."""
    message = naive.Execution(
        policy_name="headers",
        policy_version="v1.0.0",
        phase="on_response" if kind == RESPONSE else "on_request",
        request_id="5d9e2e8a-6f0a-9f5c-8a57-0d1f3c0a77aa",
        api_name="orders-v1",
        operation="GET /orders/{id}",
        request=naive.Message(method="GET", path="/orders/4711?full=1", authority="api.example.com", scheme="https"),
    )
    message.parameters.update(PARAMS)
    _fill(message.request, REQUEST_HEADERS)
    if kind == RESPONSE:
        message.response.status = 200
        _fill(message.response, RESPONSE_HEADERS)
    if kind == BODY:
        message.request.body = b"b" * BODY_BYTES
    return message.SerializeToString()


def _fill(message: naive.Message, headers: Mapping[str, str]) -> None:
    for name, value in headers.items():
        message.headers[name].values.append(value)


def blob(headers: Mapping[str, str]) -> bytes:
    return "".join(f"{name}\0{value}\0" for name, value in headers.items()).encode()


def write_message(folder: Path, name: str, data: bytes) -> Path:
    """Writes `data` to a file."""
    file = folder / name
    file.write_bytes(data)
    return file
