"""The columns of the table: what stands between client and upstream, by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from e2e.kit.gateway import Json, attach
from e2e.kit.policy_project import PolicyProject

BUFFERS = """
from sdk.policy import UpstreamRequestModifications, UpstreamResponseModifications

def on_request(ctx, params):
    return UpstreamRequestModifications(body=ctx.body) if ctx.body else None

def on_response(ctx, params):
    return UpstreamResponseModifications(body=ctx.body) if ctx.body else None
"""
STREAMS = """
async def on_request_stream(ctx, chunks, params):
    async for chunk in chunks:
        yield chunk

async def on_response_stream(ctx, chunks, params):
    async for chunk in chunks:
        yield chunk
"""
HEADERS = """
from sdk.policy import UpstreamRequestModifications, UpstreamResponseModifications

def on_request(ctx, params):
    return UpstreamRequestModifications(set_headers={"x-passed": "request"})

def on_response(ctx, params):
    return UpstreamResponseModifications(set_headers={"x-passed": "response"})
"""
GO_PARAMETERS: Json = {
    "requestHeaders": [{"name": "x-passed", "value": "request"}],
    "responseHeaders": [{"name": "x-passed", "value": "response"}],
}
BUFFERING = "python-buffers"
COLUMNS: Mapping[str, list[Json]] = {
    "none": [],
    "go-headers": [attach("add-headers", GO_PARAMETERS)],
    "python-headers": [attach("sets-headers")],
    BUFFERING: [attach("buffers")],
    "python-streams": [attach("streams")],
}
TITLES = {
    "none": "no policy",
    "go-headers": "headers, Go",
    "python-headers": "headers, Python",
    BUFFERING: "both bodies buffered, Python",
    "python-streams": "both bodies streamed, Python",
}


def project(folder: Path) -> PolicyProject:
    """A build with the policies of all columns."""
    policies = PolicyProject(folder, "e2e-passing", go=("add-headers",))
    policies.write_policy("sets-headers", HEADERS)
    policies.write_policy("buffers", BUFFERS, **bodies("buffers", "BUFFER"))
    policies.write_policy("streams", STREAMS, **bodies("streams", "STREAM"))
    return policies


def bodies(name: str, mode: str) -> dict[str, str]:
    lines = [f"name: {name}", "version: v1.0.0", "runtime: python"]
    modes = f"processingMode: {{requestBodyMode: {mode}, responseBodyMode: {mode}}}"
    return {"policy-definition.yaml": "\n".join([*lines, modes, "parameters: {type: object}", ""])}
