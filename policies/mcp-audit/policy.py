"""Logs a line of JSON for each call of a tool of an MCP server, and counts calls by tool and outcome.

The request phase reads which tools are called; the answer passes unchanged, piece by piece, and its end, also when
client or server leave in the middle, writes the lines.

Limits. If the client leaves before the answer begins, no function of the policy runs then, and there is no line. An
answer that the client gets by resuming another stream is no part of the call's line, whose outcome is then `aborted`.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from sdk import clock, mcp
from sdk.policy import Chunks, RequestAction, RequestContext, ResponseAction, ResponseContext, ResponseStreamContext

if TYPE_CHECKING:  # the folder's name cannot be a package's
    from calls import tally
    from calls.arguments import Redaction, shown_arguments
else:
    from .calls import tally
    from .calls.arguments import Redaction, shown_arguments

Json = dict[str, Any]
log = logging.getLogger(__name__)
EVENTS = "text/event-stream"
NOTE = "mcp-audit"
"""The key of the exchange's metadata: the calls of the request, and when it came."""


def prepare(params: Json) -> Redaction:
    return Redaction(params["redacted"])


def on_request(ctx: RequestContext, params: Json) -> RequestAction:
    """A body that is no message, or not certain, has no call: a server may read it otherwise, mcp-authz refuses it."""
    body = ctx.body or b""
    found = mcp.read_messages(body, ctx.headers.get_all("content-type")) if ctx.method == "POST" else None
    if not isinstance(found, mcp.Messages):
        return None
    calls = [call_of(message, ctx, params) for message in found.messages if message.method == "tools/call"]
    if calls:
        ctx.metadata[NOTE] = {"calls": calls, "began": clock.now(), "bytes": len(body)}
    return None


def call_of(message: mcp.Message, ctx: RequestContext, params: Json) -> Json:
    call: Json = {"id": message.id, "tool": message.targets[0].name}
    arguments = shown_arguments(message.params.get("arguments"), params["arguments"], ctx.prepared)
    return call if arguments is None else {**call, "arguments": arguments}


def on_response(ctx: ResponseContext, params: Json) -> ResponseAction:
    note = ctx.metadata.get(NOTE)
    if note is not None and ctx.status_code in (204, 304):  # no on_response_stream follows
        write_lines(ctx, note, {}, 0, is_whole=True)
    return None


async def on_response_stream(ctx: ResponseStreamContext, chunks: Chunks, params: Json) -> Chunks:
    content_type = ctx.headers.get("content-type", "")
    # An empty chunk sends the headers on: until the first event may be hours, and clients wait for them.
    first = [b""] if content_type.partition(";")[0].strip().lower() == EVENTS else []
    note = ctx.metadata.get(NOTE)
    if note is None:
        for chunk in first:
            yield chunk
        async for chunk in chunks:
            yield chunk
        return
    reader = mcp.AnswerReader(content_type)
    results: dict[Any, mcp.Result] = {}
    size, is_whole = 0, False
    try:
        for chunk in first:
            yield chunk
        async for chunk in chunks:
            size += len(chunk)
            for document in reader.feed(chunk):
                add_results(document, results)
            yield chunk
        is_whole = True
    finally:
        for document in reader.end():
            add_results(document, results)
        write_lines(ctx, note, results, size, is_whole=is_whole)


def add_results(document: Any, results: dict[Any, mcp.Result]) -> None:
    """By their ids; those of no call are of no use."""
    results.update((result.id, result) for result in mcp.results_of(document) if isinstance(result.id, int | str))


def write_lines(ctx: ResponseContext, note: Json, results: dict[Any, mcp.Result], size: int, *, is_whole: bool) -> None:
    seconds = max(0.0, clock.now() - note["began"])
    sender = sender_of(ctx.request)
    for call in note["calls"]:
        result = results.get(call["id"])
        outcome = outcome_of(result, ctx.status_code, is_whole=is_whole)
        tally.count(ctx.policy.api_name, call["tool"], outcome, seconds)
        code = {} if result is None or result.code is None else {"code": result.code}
        line = {**sender, **call, "outcome": outcome, **code, "status": ctx.status_code, "seconds": round(seconds, 6)}
        log.info("%s", json.dumps({"mcp": {**line, "requestBytes": note["bytes"], "responseBytes": size}}))


def sender_of(request: RequestContext) -> Json:
    """Who has sent the request, as the policies before have verified it."""
    found = {"api": request.api_name, "client": request.client_address.rpartition(":")[0]}
    if session := request.headers.get("mcp-session-id", ""):
        found["session"] = session[:128]
    if (identity := request.identity) is not None:
        named = {"subject": identity.subject, "issuer": identity.issuer, "consumer": identity.consumer}
        found |= {name: value for name, value in named.items() if value}
    return found


def outcome_of(result: mcp.Result | None, status: int, *, is_whole: bool) -> str:
    if result is not None:
        return "error" if result.code is not None else "tool_error" if result.is_error else "ok"
    if status >= 400:
        return "refused"
    return "no_answer" if is_whole else "aborted"
