"""Answers as an MCP server whose tools are the operations of a REST API, by the API's OpenAPI document.

The request phase answers all methods but tools/call itself. A call becomes the request for the API: its method, path,
query, headers and body replace those of the message, and it goes upstream like any other. The response phase makes the
tool's result of the API's answer, whichever it is: the upstream's, Envoy's own or that of a policy behind this one.

Limits. One request is one call: no batches. The server sends nothing of its own: no stream for GET, no progress, no
session; a call is cancelled by closing its connection. Tools have no output schema, so that an answer that differs from
the document reaches the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sdk import mcp
from sdk.metrics import Counter
from sdk.policy import (
    ImmediateResponse,
    RequestAction,
    RequestContext,
    ResponseAction,
    ResponseContext,
    UpstreamRequestModifications,
)

if TYPE_CHECKING:  # the folder's name cannot be a package's
    from rest.operations import Tool, read_tools
    from rest.places import ArgumentError
    from rest.requests import find_mistakes, to_request
    from rest.results import to_result
else:
    from .rest.operations import Tool, read_tools
    from .rest.places import ArgumentError
    from .rest.requests import find_mistakes, to_request
    from .rest.results import to_result

Json = dict[str, Any]
CALLS = Counter(
    "mcp_tools_calls_total", "Calls of tools: ok, api_error, or arguments that do not fit.", ["tool", "outcome"]
)
NOTE = "mcp-tools"
"""The key of the exchange's metadata: the tool that is called, and what its answer needs."""
CREDENTIALS = ("authorization", "cookie")
OF_THE_MESSAGE = {"accept", "content-type", "content-encoding", "last-event-id", "origin", "referer", "range", "expect"}
"""Headers that say something of the client's message, or of what it would do with the answer."""


@dataclass(frozen=True, slots=True)
class Tools:
    server: mcp.Server
    by_name: Mapping[str, Tool]
    listed: list[Json]
    headers: Mapping[str, str]
    """Of each request for the API."""


def prepare(params: Json) -> Tools:
    tools = read_tools(params)
    server = params["server"]
    served = mcp.Server(server["name"], server["version"], server["instructions"])
    headers = {header["name"].lower(): value_of(header) for header in params["headers"]}
    return Tools(served, tools, [tool.described for tool in tools.values()], headers)


def value_of(header: Json) -> str:
    """ValueError: the value is none of a header, which the schema cannot check for a named secret."""
    value: str = header["value"].reveal()
    if not value.isprintable() or not value.isascii():
        raise ValueError(f"headers: expected printable ASCII characters as the value of {header['name']}, got others")
    return value


def on_request(ctx: RequestContext, params: Json) -> RequestAction:
    asked = mcp.read_request(ctx)
    if isinstance(asked, ImmediateResponse):
        return asked
    tools: Tools = ctx.prepared
    if (answer := tools.server.answer(asked)) is not None:
        return answer
    match asked.message.method:
        case "tools/list":
            return list_tools(asked, tools)
        case "tools/call":
            return call_tool(ctx, asked, tools, params)
    return asked.reply.unknown_method(asked.message.method)


def list_tools(asked: mcp.Asked, tools: Tools) -> ImmediateResponse:
    if "cursor" in asked.message.params:
        return asked.reply.error(mcp.INVALID_PARAMS, "params.cursor: expected none, since the list has one page")
    return asked.reply.listing({"tools": tools.listed})


def call_tool(ctx: RequestContext, asked: mcp.Asked, tools: Tools, params: Json) -> RequestAction:
    name, reply = asked.message.targets[0].name, asked.reply
    tool = tools.by_name.get(name)
    if tool is None:
        return reply.error(mcp.INVALID_PARAMS, f"Unknown tool: {name[:128]}")
    arguments = asked.message.params.get("arguments", {})
    if not isinstance(arguments, dict):
        return reply.error(mcp.INVALID_PARAMS, "params.arguments: expected an object")
    if mistakes := find_mistakes(tool, arguments):
        return refuse_arguments(reply, tool, mistakes)
    try:
        request = to_request(tool, arguments)
    except ArgumentError as error:
        return refuse_arguments(reply, tool, [str(error)])
    ctx.metadata[NOTE] = {"id": reply.id, "revision": reply.revision, "tool": tool.name}
    removed = [name for name in ctx.headers if is_removed(name.lower(), params["clientCredentials"])]
    return UpstreamRequestModifications(
        method=request.method,
        path=ctx.api_context.rstrip("/") + request.path,
        query=request.query,
        remove_headers=removed,
        set_headers={**request.headers, **tools.headers},
        body=request.body,
        analytics_metadata={"mcp": {"tool": tool.name}},
    )


def is_removed(header: str, credentials: str) -> bool:
    if header in CREDENTIALS:
        return credentials == "remove"
    return header in OF_THE_MESSAGE or header.startswith(("mcp-", "if-"))


def refuse_arguments(reply: mcp.Reply, tool: Tool, mistakes: list[str]) -> ImmediateResponse:
    """A result, and no error of JSON-RPC: clients show results to the model, which then corrects its call."""
    CALLS.inc(tool=tool.name, outcome="arguments")
    text = "\n".join([f"The arguments do not fit the tool {tool.name}:", *mistakes])
    return reply.result({"content": [{"type": "text", "text": text}], "isError": True})


def on_response(ctx: ResponseContext, params: Json) -> ResponseAction:
    note = ctx.metadata.get(NOTE)
    if note is None:  # a policy behind this one has its own name for the key, or removed it
        return None
    reply = mcp.Reply(note["id"], note["revision"])
    result = to_result(note["tool"], ctx.status_code, ctx.headers, ctx.body or b"")
    CALLS.inc(tool=note["tool"], outcome="api_error" if result["isError"] else "ok")
    return reply.result(result)
