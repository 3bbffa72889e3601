"""Several MCP servers as one: their tools and prompts, each with the prefix of its server, at one address.

A call goes to the server that its name's prefix says, by the API's pools: the request phase chooses the upstream. What
concerns all servers the policy asks itself: it begins a session at each, and merges their lists.

The client's session id has the ids of all servers in it, so that any process, and any node, may serve its next request.
A server's request to the client (sampling, elicitation) comes on the stream of a call; its id gets the server's name,
by which the client's answer finds the way back.

Limits. There is no stream for GET, so that servers' messages outside of calls, and streams that are resumed, are not
there. Resources, completions, log levels, tasks and subscriptions are not merged. Not all servers need to answer, but
one that was away as a session began is missing in it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp
from sdk import mcp
from sdk.policy import (
    Chunks,
    ImmediateResponse,
    Reject,
    RequestAction,
    RequestContext,
    ResponseAction,
    ResponseContext,
    ResponseStreamContext,
    UpstreamRequestModifications,
    UpstreamResponseModifications,
)
from sdk.streams import StreamError

if TYPE_CHECKING:  # the folder's name cannot be a package's
    from merging.asking import CONNECTIONS, Asker, LostSessionError, UnansweredError, gather, headers_of, list_items
    from merging.servers import Server, owner_of, read_servers
    from merging.sessions import Session, Sessions, read_id, to_id
else:
    from .merging.asking import CONNECTIONS, Asker, LostSessionError, UnansweredError, gather, headers_of, list_items
    from .merging.servers import Server, owner_of, read_servers
    from .merging.sessions import Session, Sessions, read_id, to_id

Json = dict[str, Any]
NOTE = "mcp-servers"
"""The key of the exchange's metadata: the server that answers."""
EVENTS = "text/event-stream"
CREDENTIALS = ("authorization", "cookie")
LISTS = ("tools/list", "prompts/list")
CALLS = ("tools/call", "prompts/get")
STATELESS_HEADERS = ("mcp-protocol-version", "mcp-method")


@dataclass(frozen=True, slots=True)
class Merged:
    """The servers of an attachment, and the client that asks them."""

    servers: list[Server]
    http: aiohttp.ClientSession
    described: mcp.Server


async def prepare(params: Json) -> AsyncIterator[Merged]:
    servers = read_servers(params)
    capabilities: Json = {"tools": {}, "prompts": {}}
    described = mcp.Server(params["name"], params["version"], params["instructions"], capabilities)
    connector, no_cookies = aiohttp.TCPConnector(limit=CONNECTIONS), aiohttp.DummyCookieJar()
    async with aiohttp.ClientSession(connector=connector, cookie_jar=no_cookies) as http:
        yield Merged(servers, http, described)


def asker_of(ctx: RequestContext, params: Json) -> Asker:
    passed = CREDENTIALS if params["clientCredentials"] == "pass" else ()
    headers = {name: value for name in passed if is_sendable(value := ctx.headers.get(name, ""))}
    if ctx.traceparent:
        headers["traceparent"] = ctx.traceparent
    seconds = max(min(params["timeoutMilliseconds"] / 1000, ctx.time_remaining() * 0.9), 0.001)
    return Asker(ctx.prepared.http, headers, seconds, params["maxAnswerBytes"])


def is_sendable(value: str) -> bool:
    """Whether the HTTP client can send a header of this value: bytes of the client that are no text, it cannot."""
    return value != "" and value.isascii() and value.isprintable()


# ------------------------------------------------------------------ requests


async def on_request(ctx: RequestContext, params: Json) -> RequestAction:
    if ctx.method == "DELETE":
        return await end_sessions(ctx, params)
    message = mcp.read_message(ctx)
    if isinstance(message, ImmediateResponse):
        return message
    if message.kind != "request":
        return await pass_message(ctx, message, params)
    asked = mcp.as_asked(ctx.headers, message)
    if isinstance(asked, ImmediateResponse):
        return asked
    return await answer_request(ctx, asked, params)


async def answer_request(ctx: RequestContext, asked: mcp.Asked, params: Json) -> RequestAction:
    method, is_stateless, described = asked.message.method, asked.reply.is_stateless, ctx.prepared.described
    if method == "initialize" and not is_stateless:
        return await begin_sessions(ctx, asked, params)
    if method not in (*LISTS, *CALLS):
        answer: ImmediateResponse | None = described.answer(asked)
        return answer or asked.reply.unknown_method(method)
    sessions: Sessions | ImmediateResponse = {} if is_stateless else sessions_of(ctx)
    if isinstance(sessions, ImmediateResponse):
        return sessions
    if method in LISTS:
        return await merge_lists(ctx, asked, sessions, params)
    return route_call(ctx, asked, sessions, params)


def sessions_of(ctx: RequestContext) -> Sessions | ImmediateResponse:
    """The sessions that the client's id names; or the answer to a client without one, or with one that is lost."""
    lines = ctx.headers.get_all("mcp-session-id")
    if not lines:
        return mcp.refuse(mcp.Malformed(mcp.INVALID_REQUEST, "expected the header mcp-session-id, got none"))
    found = read_id(lines[0]) if len(lines) == 1 else None
    known = {server.name for server in ctx.prepared.servers}
    return lost_session() if found is None or not set(found) <= known else found


def lost_session() -> ImmediateResponse:
    return mcp.refuse(mcp.Malformed(mcp.INVALID_REQUEST, "Session not found", 404))


async def begin_sessions(ctx: RequestContext, asked: mcp.Asked, params: Json) -> ImmediateResponse:
    asker, servers, message = asker_of(ctx, params), ctx.prepared.servers, asked.message
    document = {"jsonrpc": "2.0", "id": message.id, "method": "initialize", "params": dict(message.params)}
    begun = await gather(servers, {server.name: begin_session(asker, server, document) for server in servers})
    if not begun.found:
        return asked.reply.error(mcp.INTERNAL_ERROR, "No server answered", begun.meta()["_meta"])
    sessions = {name: session for name, (session, _) in begun.found.items()}
    results = {name: result for name, (_, result) in begun.found.items()}
    answer = asked.reply.result(initialized(ctx.prepared.described, asked.message, sessions, results) | begun.meta())
    return ImmediateResponse(answer.status_code, {**answer.headers, "mcp-session-id": to_id(sessions)}, answer.body)


async def begin_session(asker: Asker, server: Server, document: Json) -> tuple[Session, Json]:
    answered = await asker.ask(server, document)
    result = answered.message.get("result", {})
    revision = result.get("protocolVersion")
    if revision not in mcp.SESSION_REVISIONS:
        raise UnansweredError("error" if "error" in answered.message else "revision")
    return Session(revision, answered.session_id), result


def initialized(described: mcp.Server, message: mcp.Message, sessions: Sessions, results: Mapping[str, Json]) -> Json:
    """The result for the client: the oldest revision that a server has agreed on, and what servers have together."""
    revision = min((session.revision for session in sessions.values()), key=mcp.SESSION_REVISIONS.index)
    has = {name for result in results.values() for name in members(result.get("capabilities"))}
    texts = [f"{name}: {text}" for name, result in results.items() if (text := text_of(result.get("instructions")))]
    own = described.initialized(message)
    instructions = "\n\n".join([own["instructions"]] if "instructions" in own else texts)
    return {
        **own,
        "protocolVersion": revision,
        "capabilities": {name: {} for name in ("tools", "prompts") if name in has},
        **({"instructions": instructions} if instructions else {}),
    }


def members(value: Any) -> list[str]:
    return list(value) if isinstance(value, dict) else []


def text_of(value: Any) -> str:
    return value if isinstance(value, str) else ""


async def end_sessions(ctx: RequestContext, params: Json) -> ImmediateResponse:
    sessions = sessions_of(ctx)
    if isinstance(sessions, ImmediateResponse):
        return sessions
    asker = asker_of(ctx, params)
    ending = [(server, sessions[server.name]) for server in ctx.prepared.servers if server.name in sessions]
    await asyncio.gather(*(asker.end(server, session) for server, session in ending if session.id))
    return ImmediateResponse(204)


async def merge_lists(ctx: RequestContext, asked: mcp.Asked, sessions: Sessions, params: Json) -> ImmediateResponse:
    if "cursor" in asked.message.params:
        return asked.reply.error(mcp.INVALID_PARAMS, "params.cursor: expected none, since the list has one page")
    asker, servers = asker_of(ctx, params), ctx.prepared.servers
    headers = {name: ctx.headers[name] for name in STATELESS_HEADERS} if asked.reply.is_stateless else {}
    asking = {
        server.name: list_items(asker, server, asked.message, sessions.get(server.name), headers)
        for server in servers
        if asked.reply.is_stateless or server.name in sessions
    }
    try:
        listed = await gather(servers, asking)
    except LostSessionError:
        return lost_session()
    if not listed.found:
        return asked.reply.error(mcp.INTERNAL_ERROR, "No server answered", listed.meta()["_meta"])
    items = [item for server in servers for item in listed.found.get(server.name, [])]
    return asked.reply.listing({asked.message.lists: items} | listed.meta())


def route_call(ctx: RequestContext, asked: mcp.Asked, sessions: Sessions, params: Json) -> RequestAction:
    target = asked.message.targets[0]
    server = owner_of(target.name, ctx.prepared.servers)
    if server is None:
        return asked.reply.error(mcp.INVALID_PARAMS, f"Unknown {target.kind}: {target.name[:128]}")
    session = sessions.get(server.name)
    if session is None and not asked.reply.is_stateless:
        text = f"The server {server.name} did not answer as the session began: begin a new session"
        return asked.reply.error(mcp.INTERNAL_ERROR, text)
    name = target.name.removeprefix(server.prefix)
    document = json.loads(ctx.body or b"")
    document["params"]["name"] = name
    named = {"mcp-name": mcp.header_value(name)} if "mcp-name" in ctx.headers else {}
    return send_to(ctx, server, session, document, params, named)


async def pass_message(ctx: RequestContext, message: mcp.Message, params: Json) -> RequestAction:
    """A notification goes to all servers, of which one knows what it is about; an answer to the server that asked."""
    if not ctx.headers.get_all("mcp-session-id"):
        return ImmediateResponse(202)
    sessions = sessions_of(ctx)
    if isinstance(sessions, ImmediateResponse):
        return sessions
    servers = [server for server in ctx.prepared.servers if server.name in sessions]
    document = json.loads(ctx.body or b"")
    if message.kind == "notification":
        asker = asker_of(ctx, params)
        await gather(servers, {server.name: asker.tell(server, document, sessions[server.name]) for server in servers})
        return ImmediateResponse(202)
    name, _, number = str(message.id).partition(":")
    server = next((server for server in servers if server.name == name), None)
    try:
        document["id"] = json.loads(number)
    except ValueError:
        server = None
    if server is None or not isinstance(document["id"], int | str):
        return mcp.refuse(mcp.Malformed(mcp.INVALID_REQUEST, "id: expected that of a request of a server's"))
    return send_to(ctx, server, sessions[server.name], document, params, {})


def send_to(
    ctx: RequestContext, server: Server, session: Session | None, document: Json, params: Json, headers: Json
) -> UpstreamRequestModifications:
    ctx.metadata[NOTE] = {"server": server.name}
    removed = ["mcp-session-id", *(CREDENTIALS if params["clientCredentials"] == "remove" else ())]
    return UpstreamRequestModifications(
        upstream=server.upstream,
        path=ctx.api_context.rstrip("/") + server.path,
        query="",
        remove_headers=removed,
        set_headers={**headers_of(session), **headers, **server.headers},
        body=json.dumps(document, ensure_ascii=False, separators=(",", ":")),
        analytics_metadata={"mcp": {"server": server.name}},
    )


# ------------------------------------------------------------------ answers


def on_response(ctx: ResponseContext, params: Json) -> ResponseAction:
    """The server's own session id is not the client's."""
    is_there = NOTE in ctx.metadata and "mcp-session-id" in ctx.headers
    return UpstreamResponseModifications(remove_headers=["mcp-session-id"]) if is_there else None


async def on_response_stream(ctx: ResponseStreamContext, chunks: Chunks, params: Json) -> Chunks:
    note = ctx.metadata.get(NOTE)
    content_type = ctx.headers.get("content-type", "")
    if note is None or content_type.partition(";")[0].strip().lower() != EVENTS:
        async for chunk in chunks:
            yield chunk
        return
    yield b""  # the headers go on: clients wait for them, and the first event may be minutes away
    editor = mcp.AnswerEditor(content_type, lambda found: with_server(found, note["server"]), params["maxAnswerBytes"])
    try:
        async for chunk in chunks:
            if passed := editor.feed(chunk):
                yield passed
        if rest := editor.end():
            yield rest
    except StreamError as error:
        raise Reject(mcp.answer(mcp.error_message(None, mcp.INTERNAL_ERROR, str(error)), 502)) from None


def with_server(message: Json, server: str) -> Json:
    """A request of the server's has its name in the id, as the client's answer then has."""
    if "method" not in message or "id" not in message:
        return message
    return {**message, "id": f"{server}:{json.dumps(message['id'])}"}
