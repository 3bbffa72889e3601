"""Answers a request to a language model from the store if the same request was answered before.

Requests are the same if their documents are: `answers.request_key` has the rule. The response phase copies the answer
as it passes, and keeps it at its end, if it was complete and successful. `answers.entry` decides that.

An answer that came whole is kept for requests of whole answers, and a stream, byte for byte, for requests of streams
with the same wish for usage. Neither is made of the other: the ids, chunks and counts would be the gateway's invention,
and each shape has events of its own.

Limits. A hit has the content type of the kept answer, and no other header of it. What an earlier policy has done with
the request counts, since the key is made of the request as it comes here; what a later policy does by something that is
not in the key, such as a header, does not.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sdk import clock, llm
from sdk.metrics import Counter
from sdk.policy import (
    Chunks,
    ImmediateResponse,
    PolicyMetadata,
    RequestAction,
    RequestContext,
    ResponseAction,
    ResponseContext,
    ResponseStreamContext,
    UpstreamResponseModifications,
)
from sdk.store import AsyncStore, StoreUnavailableError

if TYPE_CHECKING:  # the folder's name cannot be a package's
    from answers.entry import AnswerCopy, Entry, decode
    from answers.request_key import bypass_reason, client_of, directives_of, is_too_old, key_of
else:
    from .answers.entry import AnswerCopy, Entry, decode
    from .answers.request_key import bypass_reason, client_of, directives_of, is_too_old, key_of

Json = dict[str, Any]
REQUESTS = Counter("llm_cache_requests_total", "Requests by what the cache did: hit, miss, pass, or other.", ["result"])
SAVED = Counter("llm_cache_tokens_saved_total", "Tokens of kept answers that were given again.", ["kind"])
ANSWERS = Counter("llm_cache_answers_total", "Answers after a miss: stored, or why they were not kept.", ["outcome"])
UNANSWERED = Counter("llm_cache_store_unavailable_total", "Calls that the store did not answer.", ["use"])
FIRST_PAUSE, LONGEST_PAUSE = 0.02, 0.5
"""Seconds between two looks for the answer of a request under way."""
SHARE_OF_TIME = 0.8
"""The part of the time of an execution that it may wait for another request."""


@dataclass(frozen=True, slots=True)
class Prepared:
    store: AsyncStore
    note: str
    """The key of the exchange's metadata for what the response phase needs."""
    releases: set[asyncio.Task[None]] = field(default_factory=set)
    """Calls under way that let the requests go on which wait."""


def prepare(params: Json, metadata: PolicyMetadata) -> Prepared:
    owner = json.dumps([metadata.operation, params], sort_keys=True)  # equal attachments share answers
    name = hashlib.sha256(owner.encode()).hexdigest()[:32]
    return Prepared(AsyncStore(name), f"llm-cache {name}")


# ------------------------------------------------------------------ requests


async def on_request(ctx: RequestContext, params: Json) -> RequestAction:
    prepared: Prepared = ctx.prepared
    ctx.metadata.pop(prepared.note, None)  # other policies must not set it
    request = llm.read_request(ctx.method, ctx.path, ctx.body or b"")
    if request is None:
        REQUESTS.inc(result="unknown_shape")
        return None
    is_honoured = params["clientDirectives"] == "honour"
    directives = directives_of(ctx.headers.get_all("cache-control")) if is_honoured else {}
    client = client_of(ctx, params["per"])
    reason = "unknown-client" if client is None else bypass_reason(ctx, request, params)
    if reason or "no-store" in directives:
        return pass_on(ctx, f"bypass; detail={reason}" if reason else "request", directives)
    try:
        key = key_of(ctx, request, client, params)
    except RecursionError:
        return pass_on(ctx, "bypass; detail=levels", directives)
    entry, is_first = await look_up(ctx, key, directives, params)
    if entry is not None:
        return cached_answer(entry, params)
    if "only-if-cached" in directives:
        return pass_on(ctx, "miss", directives)
    REQUESTS.inc(result="miss")
    forward = "request" if "no-cache" in directives else "miss"
    ctx.metadata[prepared.note] = {"forward": forward, "key": key, "shape": request.shape, "isFirst": is_first}
    return None


def pass_on(ctx: RequestContext, forward: str, directives: Mapping[str, str]) -> RequestAction:
    """Passes on a request whose answer is not kept, or refuses one that is not to go on (RFC 9111, 5.2.1.7)."""
    REQUESTS.inc(result="pass")
    if "only-if-cached" in directives:
        return llm.problem(504, "no answer to this request is kept, and it allows no other one")
    ctx.metadata[ctx.prepared.note] = {"forward": forward}
    return None


async def look_up(
    ctx: RequestContext, key: str, directives: Mapping[str, str], params: Json
) -> tuple[Entry | None, bool]:
    """The kept answer, and whether others wait for that of this request."""
    if "no-cache" in directives:
        return None, False
    entry = await read(ctx.prepared, key)
    if entry is None and params["waitSeconds"] and "only-if-cached" not in directives:
        if await is_first_of(ctx.prepared, key, params["waitSeconds"]):
            return None, True
        entry = await wait_for(ctx, key, params["waitSeconds"])
    return (None if entry is None or is_too_old(entry.age, directives) else entry), False


async def wait_for(ctx: RequestContext, key: str, seconds: int) -> Entry | None:
    """The answer of the same request that is under way; None once that has ended without one, or has taken long."""
    prepared: Prepared = ctx.prepared
    until = clock.monotonic() + min(seconds, ctx.time_remaining() * SHARE_OF_TIME)
    pause = FIRST_PAUSE
    while (left := until - clock.monotonic()) > 0:
        await asyncio.sleep(min(pause, left))
        pause = min(2 * pause, LONGEST_PAUSE)
        is_under_way = await is_claimed(prepared, key)  # before the look: the answer is written before this ends
        if (entry := await read(prepared, key)) is not None or not is_under_way:
            return entry
    return None


def cached_answer(entry: Entry, params: Json) -> ImmediateResponse:
    REQUESTS.inc(result="hit")
    SAVED.inc(entry.tokens_in, kind="input")
    SAVED.inc(entry.tokens_out, kind="output")
    left = max(0, int(params["ttlSeconds"] - entry.age))
    headers = {"content-type": entry.content_type, "age": str(int(entry.age))}
    if params["cacheStatus"]:
        headers["cache-status"] = f"gatewright; hit; ttl={left}"
    return ImmediateResponse(200, headers, entry.body)


# ------------------------------------------------------------------ answers


def on_response(ctx: ResponseContext, params: Json) -> ResponseAction:
    prepared: Prepared = ctx.request.prepared
    note = ctx.metadata.get(prepared.note)
    if note is None or not params["cacheStatus"]:
        return None
    return UpstreamResponseModifications(append_headers={"cache-status": f"gatewright; fwd={note['forward']}"})


async def on_response_stream(ctx: ResponseStreamContext, chunks: Chunks, params: Json) -> Chunks:
    prepared: Prepared = ctx.prepared
    note = ctx.metadata.get(prepared.note)
    if note is None or "key" not in note:
        async for chunk in chunks:
            yield chunk
        return
    copy = AnswerCopy(note["shape"], ctx.headers.get("content-type", ""), params["maxEntryBytes"])
    outcome = "aborted"
    try:
        async for chunk in chunks:
            copy.feed(chunk)
            yield chunk
        outcome = "status" if ctx.status_code != 200 else await keep(prepared, note["key"], copy, params["ttlSeconds"])
    finally:
        ANSWERS.inc(outcome=outcome)
        if note["isFirst"]:
            release(prepared, note["key"])


async def keep(prepared: Prepared, key: str, copy: AnswerCopy, ttl: int) -> str:
    """Keeps an answer that may be kept. Returns "stored", or why it is not, in a word."""
    entry = copy.end()
    if isinstance(entry, str):
        return entry
    try:
        return "stored" if await prepared.store.set(key, entry.encode(), ttl=ttl) else "store"
    except StoreUnavailableError:
        UNANSWERED.inc(use="put")
        return "store"


# ------------------------------------------------------------------ the store


async def read(prepared: Prepared, key: str) -> Entry | None:
    try:
        value = await prepared.store.get(key)
    except StoreUnavailableError:
        UNANSWERED.inc(use="get")
        return None
    return None if value is None else decode(value)


async def is_first_of(prepared: Prepared, key: str, seconds: int) -> bool:
    """Whether no same request is under way; then this one is, for so many seconds at most."""
    try:
        return await prepared.store.set(claim_of(key), b"", ttl=seconds, if_absent=True)
    except StoreUnavailableError:
        UNANSWERED.inc(use="claim")
        return True


async def is_claimed(prepared: Prepared, key: str) -> bool:
    try:
        return await prepared.store.get(claim_of(key)) is not None
    except StoreUnavailableError:
        UNANSWERED.inc(use="claim")
        return False


def release(prepared: Prepared, key: str) -> None:
    """Lets the requests go on that wait for this one. It may be called where the caller is being cancelled."""

    async def delete() -> None:
        try:
            await prepared.store.delete(claim_of(key))
        except StoreUnavailableError:
            UNANSWERED.inc(use="release")  # the claim expires

    task = asyncio.create_task(delete())
    prepared.releases.add(task)
    task.add_done_callback(prepared.releases.discard)


def claim_of(key: str) -> str:
    return f"claim {key}"
