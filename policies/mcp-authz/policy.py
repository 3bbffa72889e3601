"""Lets clients list and call those tools, prompts and resources of an MCP server that their roles name.

The request phase reads the message, and answers calls of what is not permitted as if the server did not have it. The
response phase takes out of lists what may not be called: of answers to requests that list something, and of the
messages on the stream of GET, on which a client may resume such an answer.

Limits. A server may tell of a tool elsewhere, in the text of an answer or in a notification. A method that the
parameter `unknownMethods` lets pass does what the server makes of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sdk import mcp
from sdk.metrics import Counter
from sdk.policy import (
    Chunks,
    Identity,
    ImmediateResponse,
    Reject,
    RequestAction,
    RequestContext,
    ResponseStreamContext,
)
from sdk.streams import StreamError

if TYPE_CHECKING:  # the folder's name cannot be a package's
    from roles.permits import Permit, permit_of, roles_of
else:
    from .roles.permits import Permit, permit_of, roles_of

Json = dict[str, Any]
REFUSED = Counter("mcp_authz_refused_total", "Messages that were not passed on.", ["reason"])
HIDDEN = Counter("mcp_authz_hidden_total", "Items that were taken out of lists.", ["kind"])
NOTE = "mcp-authz"
"""The key of the exchange's metadata: whether the answer may have a list."""
EVENTS = "text/event-stream"
NO_MESSAGE = ("DELETE", "HEAD", "OPTIONS")
LISTED = (
    ("tools", "tool", "name"),
    ("prompts", "prompt", "name"),
    ("resources", "resource", "uri"),
    ("resourceTemplates", "resource", "uriTemplate"),
)
"""The members of results that are lists, the kind of their items, and the member that has an item's name."""
ABSENT = {
    "tool": (mcp.INVALID_PARAMS, "Unknown tool: {}"),
    "prompt": (mcp.INVALID_PARAMS, "Unknown prompt: {}"),
    "resource": (mcp.RESOURCE_NOT_FOUND, "Resource not found: {}"),
    "method": (mcp.METHOD_NOT_FOUND, "Method not found: {}"),
}
"""The errors by which servers say that they have none of a name."""


@dataclass(frozen=True, slots=True)
class Permits:
    everyone: Permit
    roles: dict[str, Permit]

    def of(self, identity: Identity | None, source: Json) -> list[Permit]:
        """Those of a request."""
        named = (self.roles.get(role) for role in roles_of(identity, source))
        return [self.everyone, *(permit for permit in named if permit is not None)]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a message is not passed on: a kind of ABSENT, and the name."""

    kind: str
    name: str

    def error(self, message: mcp.Message) -> Json:
        code, text = ABSENT[self.kind]
        return mcp.error_message(message.id, code, text.format(self.name))


def prepare(params: Json) -> Permits:
    roles = {role: permit_of(permit) for role, permit in params["roles"].items()}
    return Permits(permit_of(params["everyone"]), roles)


# ------------------------------------------------------------------ calls


def on_request(ctx: RequestContext, params: Json) -> RequestAction:
    if ctx.method != "POST":
        return pass_without_message(ctx)
    found = mcp.read_messages(ctx.body or b"", ctx.headers.get_all("content-type"))
    if isinstance(found, mcp.Malformed):
        return refuse_malformed(found)
    if mistake := mcp.check_headers(ctx.headers, found):
        return refuse_malformed(mistake)
    permits = ctx.prepared.of(ctx.identity, params["role"])
    refusals = [refusal_of(message, permits, params) for message in found.messages]
    if any(refusals):
        return refuse(found, refusals)
    ctx.metadata[NOTE] = {"lists": any(message.lists for message in found.messages)}
    return None


def pass_without_message(ctx: RequestContext) -> RequestAction:
    if ctx.method not in ("GET", *NO_MESSAGE):
        detail = f"expected POST, GET or DELETE, got {ctx.method[:50]}"
        return refuse_malformed(mcp.Malformed(mcp.INVALID_REQUEST, detail, 405), "http_method")
    if ctx.body:
        detail = f"expected no body in a request of {ctx.method}"
        return refuse_malformed(mcp.Malformed(mcp.INVALID_REQUEST, detail))
    ctx.metadata[NOTE] = {"lists": ctx.method == "GET"}
    return None


def refusal_of(message: mcp.Message, permits: list[Permit], params: Json) -> Refusal | None:
    if message.kind == "response":
        return None
    if message.method not in mcp.METHODS and params["unknownMethods"] == "deny":
        return Refusal("method", message.method)
    for target in message.targets:
        if not is_allowed(permits, target.kind, target.name):
            return Refusal(target.kind, target.name)
    return None


def is_allowed(permits: Iterable[Permit], kind: str, name: str) -> bool:
    return any(permit.allows(kind, name) for permit in permits)


def refuse(found: mcp.Messages, refusals: list[Refusal | None]) -> ImmediateResponse:
    """The whole batch, if one of its messages is refused: the others may depend on it."""
    errors: list[Json] = []
    refused: list[Json] = []
    for message, refusal in zip(found.messages, refusals, strict=True):
        if refusal is not None:
            REFUSED.inc(reason=refusal.kind)
            refused.append({"method": message.method[:100], "name": refusal.name[:100]})
        if message.kind != "request":
            continue
        with_others = mcp.error_message(message.id, mcp.INVALID_REQUEST, "another message of the batch was refused")
        errors.append(with_others if refusal is None else refusal.error(message))
    analytics: Json = {"mcp": {"refused": refused[0]}}
    if not errors:  # notifications, to which JSON-RPC has no answer
        refusal = next(refusal for refusal in refusals if refusal is not None)
        code, text = ABSENT[refusal.kind]
        return mcp.answer(mcp.error_message(None, code, text.format(refusal.name)), 403, analytics=analytics)
    return mcp.answer(errors if found.is_batch else errors[0], analytics=analytics)


def refuse_malformed(mistake: mcp.Malformed, reason: str = "malformed") -> ImmediateResponse:
    REFUSED.inc(reason=reason)
    return mcp.refuse(mistake, analytics={"mcp": {"refused": {"reason": reason}}})


# ------------------------------------------------------------------ lists


async def on_response_stream(ctx: ResponseStreamContext, chunks: Chunks, params: Json) -> Chunks:
    if kind_of(ctx) == EVENTS:
        yield b""  # the headers go on: until the first event may be hours, and clients wait for them
    if not may_have_list(ctx):
        async for chunk in chunks:
            yield chunk
        return
    permits = ctx.prepared.of(ctx.request.identity, params["role"])
    try:
        content_type = ctx.headers.get("content-type", "")
        editor = mcp.AnswerEditor(
            content_type, lambda message: without_hidden(message, permits), params["maxAnswerBytes"]
        )
        async for chunk in chunks:
            if passed := editor.feed(chunk):
                yield passed
        if rest := editor.end():
            yield rest
    except StreamError as error:
        REFUSED.inc(reason="answer")
        raise Reject(mcp.answer(mcp.error_message(None, mcp.INTERNAL_ERROR, str(error)), 502)) from None


def may_have_list(ctx: ResponseStreamContext) -> bool:
    """False also for refusals of the server's that are neither JSON nor an event stream, and so no list."""
    note = ctx.metadata.get(NOTE)
    if note is not None and not note["lists"]:
        return False
    return kind_of(ctx) in ("application/json", EVENTS) or ctx.status_code < 300


def kind_of(ctx: ResponseStreamContext) -> str:
    return ctx.headers.get("content-type", "").partition(";")[0].strip().lower()


def without_hidden(message: Json, permits: list[Permit]) -> Json:
    """The message with what is permitted of each list in its result."""
    result = message.get("result")
    if not isinstance(result, dict) or "method" in message:
        return message
    kept = {}
    for member, kind, name_of in LISTED:
        items = result.get(member)
        if not isinstance(items, list):
            continue
        kept[member] = [item for item in items if is_listed(item, kind, name_of, permits)]
        if hidden := len(items) - len(kept[member]):
            HIDDEN.inc(hidden, kind=kind)
    return {**message, "result": {**result, **kept}} if kept else message


def is_listed(item: Any, kind: str, name_of: str, permits: list[Permit]) -> bool:
    name = item.get(name_of) if isinstance(item, dict) else None
    return isinstance(name, str) and is_allowed(permits, kind, name)
