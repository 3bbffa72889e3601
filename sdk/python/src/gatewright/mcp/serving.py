"""Requests of clients for a policy that answers in the place of an MCP server, with sessions and by the stateless
revision.

asked = mcp.read_request(ctx)
if isinstance(asked, ImmediateResponse): return asked      # a notification, a method of HTTP, a mistake
if answer := server.answer(asked): return answer           # initialize, ping, server/discover
return asked.reply.result({"tools": [...]})
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from gatewright.headers import Headers
from gatewright.made_at import set_made_at
from gatewright.mcp.headers import check_headers
from gatewright.mcp.messages import (
    HEADER_MISMATCH,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    UNSUPPORTED_PROTOCOL_VERSION,
    Malformed,
    Message,
    RequestId,
    error_message,
    read_messages,
)
from gatewright.policy import ImmediateResponse, JsonValue, RequestContext

Json: TypeAlias = dict[str, Any]

SESSION_REVISIONS = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
"""The revisions that begin with `initialize`, the oldest first."""
STATELESS_REVISIONS = ("2026-07-28",)
"""The revisions without sessions, each of whose requests says what its client is."""
UNNAMED_REVISION = "2025-03-26"
"""The revision of a request without the header mcp-protocol-version."""
META = "io.modelcontextprotocol/"
"""The beginning of the protocol's own names in `_meta`."""
_STATUS = {
    PARSE_ERROR: 400,
    INVALID_REQUEST: 400,
    INVALID_PARAMS: 400,
    HEADER_MISMATCH: 400,
    UNSUPPORTED_PROTOCOL_VERSION: 400,
    METHOD_NOT_FOUND: 404,
}
"""HTTP's status for an error of the stateless revision; sessions have 200."""


def answer(
    document: Any,
    status: int = 200,
    *,
    headers: Mapping[str, str] | None = None,
    analytics: Mapping[str, JsonValue] | None = None,
) -> ImmediateResponse:
    """An answer that is a message, or a batch of them. headers: further ones. analytics: for the access log."""
    lines = {"content-type": "application/json", **(headers or {})}
    made = ImmediateResponse(status, lines, json.dumps(document), analytics_metadata=analytics or {})
    set_made_at(made, sys._getframe(1))
    return made


def refuse(mistake: Malformed, *, analytics: Mapping[str, JsonValue] | None = None) -> ImmediateResponse:
    """The answer to a request that is no message of MCP: an error of JSON-RPC for no id, with HTTP's status."""
    return answer(error_message(None, mistake.code, mistake.detail), mistake.status, analytics=analytics)


@dataclass(frozen=True, slots=True)
class Reply:
    """How one request is answered. Both members are JSON, so that the exchange's metadata may keep them."""

    id: RequestId
    revision: str

    @property
    def is_stateless(self) -> bool:
        return self.revision in STATELESS_REVISIONS

    def result(self, result: Json) -> ImmediateResponse:
        """The answer with this result; the stateless revision has its type too."""
        more = {"resultType": "complete"} if self.is_stateless else {}
        return answer({"jsonrpc": "2.0", "id": self.id, "result": result | more})

    def listing(self, result: Json) -> ImmediateResponse:
        """The answer with a list, which clients of the stateless revision ask for again each time."""
        return self.result(result | ({"ttlMs": 0, "cacheScope": "private"} if self.is_stateless else {}))

    def error(self, code: int, text: str, data: Json | None = None) -> ImmediateResponse:
        """The answer with an error of JSON-RPC."""
        return answer(error_message(self.id, code, text, data), _STATUS.get(code, 200) if self.is_stateless else 200)

    def unknown_method(self, method: str) -> ImmediateResponse:
        return self.error(METHOD_NOT_FOUND, f"Method not found: {method[:100]}")


@dataclass(frozen=True, slots=True)
class Asked:
    """One request of a client."""

    message: Message
    reply: Reply


@dataclass(frozen=True, slots=True)
class Server:
    """What a policy says of the server in whose place it answers."""

    name: str
    version: str
    instructions: str = ""
    """For the model: how to use the tools together. "": none."""
    capabilities: Json = field(default_factory=lambda: {"tools": {}})

    def answer(self, asked: Asked) -> ImmediateResponse | None:
        """The answer to `initialize`, `ping` or `server/discover`; None for other methods, and for those that the
        request's revision does not have."""
        match asked.message.method:
            case "initialize" if not asked.reply.is_stateless:
                return asked.reply.result(self.initialized(asked.message))
            case "ping" if not asked.reply.is_stateless:
                return asked.reply.result({})
            case "server/discover" if asked.reply.is_stateless:
                return asked.reply.listing(self._discovered())
        return None

    def initialized(self, message: Message) -> Json:
        """The result of `initialize`, with the client's revision, or the newest that has sessions."""
        wanted = message.params.get("protocolVersion")
        revision = wanted if wanted in SESSION_REVISIONS else SESSION_REVISIONS[-1]
        return {
            "protocolVersion": revision,
            "capabilities": self.capabilities,
            "serverInfo": self._info(),
            **self._instructions(),
        }

    def _discovered(self) -> Json:
        return {
            "supportedVersions": list(STATELESS_REVISIONS),
            "capabilities": self.capabilities,
            "_meta": {f"{META}serverInfo": self._info()},
            **self._instructions(),
        }

    def _info(self) -> Json:
        return {"name": self.name, "version": self.version}

    def _instructions(self) -> Json:
        return {"instructions": self.instructions} if self.instructions else {}


def read_request(ctx: RequestContext) -> Asked | ImmediateResponse:
    """The one request in a POST; or the answer to what is none: 202 to notifications and to answers of the client's,
    and as `read_message`."""
    message = read_message(ctx)
    if isinstance(message, ImmediateResponse):
        return message
    return ImmediateResponse(202) if message.kind != "request" else as_asked(ctx.headers, message)


def read_message(ctx: RequestContext) -> Message | ImmediateResponse:
    """The one message in a POST, whichever; or the answer to what is none: 405 to other methods of HTTP (the server has
    no stream for GET and no session to DELETE), 400 and 415 to what is no message or a batch."""
    if ctx.method != "POST":
        detail = f"expected POST, got {ctx.method[:50]}: this server sends no messages of its own, and has no sessions"
        return answer(error_message(None, INVALID_REQUEST, detail), 405, headers={"allow": "POST"})
    found = read_messages(ctx.body or b"", ctx.headers.get_all("content-type"))
    if isinstance(found, Malformed):
        return refuse(found)
    if found.is_batch:
        return refuse(Malformed(INVALID_REQUEST, "expected one message, got a batch"))
    mistake = check_headers(ctx.headers, found)
    return found.messages[0] if mistake is None else refuse(mistake)


def as_asked(headers: Headers, message: Message) -> Asked | ImmediateResponse:
    """A request with the revision that it is of; or the answer to one of a revision that is not known, or whose headers
    do not say the same as its body."""
    number = message.id if message.id is not None else ""
    named = headers.get_all("mcp-protocol-version") or [UNNAMED_REVISION]
    meta = message.params.get("_meta")
    in_body = meta.get(f"{META}protocolVersion") if isinstance(meta, Mapping) else None
    reply = Reply(number, named[0] if len(named) == 1 else "")
    if in_body is not None and [in_body] != named:
        reply = Reply(number, STATELESS_REVISIONS[-1])
        return reply.error(HEADER_MISMATCH, "mcp-protocol-version: expected the revision of the body's _meta")
    if reply.revision in SESSION_REVISIONS or message.method == "initialize":
        return Asked(message, reply)
    if not reply.is_stateless:
        supported = {"supported": [*STATELESS_REVISIONS, *SESSION_REVISIONS], "requested": ", ".join(named)[:100]}
        document = error_message(number, UNSUPPORTED_PROTOCOL_VERSION, "Unsupported protocol version", supported)
        return answer(document, 400)
    if not isinstance(meta, Mapping) or in_body is None or f"{META}clientCapabilities" not in meta:
        expected = f"params._meta: expected {META}protocolVersion and {META}clientCapabilities"
        return reply.error(INVALID_PARAMS, expected)
    if "mcp-method" not in headers or (message.method == "tools/call" and "mcp-name" not in headers):
        return reply.error(HEADER_MISMATCH, "expected the headers mcp-method and, for a tool, mcp-name")
    return Asked(message, reply)
