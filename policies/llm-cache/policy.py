"""Answers a request to a language model from the store if the same request was answered before.

Requests are the same if their documents are: `answers.request_key` has the rule. The response phase copies the answer
as it passes, and keeps it at its end, if it was complete and successful. `answers.entry` decides that.

An answer that came whole is kept for requests of whole answers, and a stream, byte for byte, for requests of streams
with the same wish for usage. Neither is made of the other: the ids, chunks and counts would be the gateway's invention,
and each shape has events of its own.

With `semantic`, a request whose own answer is not kept may get that of a question of nearly the same meaning:
`answers.near` finds it by the embeddings of the last message, among requests that are the same in all else.

Limits. A hit has the content type of the kept answer, and no other header of it. What an earlier policy has done with
the request counts, since the key is made of the request as it comes here; what a later policy does by something that is
not in the key, such as a header, does not.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import AsyncIterator, Mapping
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
    from answers.embeddings import SHARE_OF_TIME as EMBEDDING_SHARE
    from answers.embeddings import Embeddings, UnansweredError, open_embeddings
    from answers.entry import AnswerCopy, Entry, decode
    from answers.near import NearAnswers, Question, Vector, question_of
    from answers.request_key import bypass_reason, client_of, directives_of, is_too_old, key_of, scope_of
else:
    from .answers.embeddings import SHARE_OF_TIME as EMBEDDING_SHARE
    from .answers.embeddings import Embeddings, UnansweredError, open_embeddings
    from .answers.entry import AnswerCopy, Entry, decode
    from .answers.near import NearAnswers, Question, Vector, question_of
    from .answers.request_key import bypass_reason, client_of, directives_of, is_too_old, key_of, scope_of

Json = dict[str, Any]
REQUESTS = Counter(
    "llm_cache_requests_total", "Requests by what the cache did: hit, near, miss, pass, or other.", ["result"]
)
SAVED = Counter("llm_cache_tokens_saved_total", "Tokens of kept answers that were given again.", ["kind"])
ANSWERS = Counter("llm_cache_answers_total", "Answers after a miss: stored, or why they were not kept.", ["outcome"])
UNANSWERED = Counter("llm_cache_store_unavailable_total", "Calls that the store did not answer.", ["use"])
UNEMBEDDED = Counter("llm_cache_embedding_unanswered_total", "Questions without an embedding of the service.", [])
FIRST_PAUSE, LONGEST_PAUSE = 0.02, 0.5
"""Seconds between two looks for the answer of a request under way."""
SHARE_OF_TIME = 0.8
"""The part of the time of an execution that it may wait for another request."""
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Prepared:
    store: AsyncStore
    note: str
    """The key of the exchange's metadata for what the response phase needs."""
    near: NearAnswers
    embeddings: Embeddings | None
    """None: only the same requests are answered."""
    threshold: float
    releases: set[asyncio.Task[None]] = field(default_factory=set)
    """Calls under way that let the requests go on which wait."""


async def prepare(params: Json, metadata: PolicyMetadata) -> AsyncIterator[Prepared]:
    semantic = params.get("semantic")
    owner = json.dumps([metadata.operation, without_token(params)], sort_keys=True)  # equal attachments share answers
    name = hashlib.sha256(owner.encode()).hexdigest()[:32]
    near, threshold = NearAnswers(semantic["maxEntries"] if semantic else 0), semantic["threshold"] if semantic else 1.0
    async with open_embeddings(semantic) as embeddings:
        yield Prepared(AsyncStore(name), f"llm-cache {name}", near, embeddings, threshold)


def without_token(params: Json) -> Json:
    """The parameters without the secret of the embedding service, on which no answer depends."""
    if "semantic" not in params:
        return params
    return {**params, "semantic": {name: value for name, value in params["semantic"].items() if name != "token"}}


@dataclass(frozen=True, slots=True)
class Wanted:
    """A request by its key. question: None if only an answer to the same request will do."""

    key: str
    scope: str
    question: Question | None


@dataclass(frozen=True, slots=True)
class Found:
    """entry: the kept answer. similarity: None if it is one to the same request. vector: that of the question, if the
    embedding service was asked. is_first: whether others wait for the answer of this request."""

    entry: Entry | None = None
    similarity: float | None = None
    vector: Vector | None = None
    is_first: bool = False


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
    question = question_of(request) if prepared.embeddings is not None else None
    try:
        key = key_of(ctx, request, client, params)
        scope = "" if question is None else scope_of(ctx, request, question.rest, client, params)
    except RecursionError:
        return pass_on(ctx, "bypass; detail=levels", directives)
    wanted = Wanted(key, scope, question)
    found = await look_up(ctx, wanted, directives, params)
    if found.entry is not None:
        return cached_answer(found.entry, found.similarity, params)
    if "only-if-cached" in directives:
        return pass_on(ctx, "miss", directives)
    REQUESTS.inc(result="miss")
    if found.vector is not None:
        prepared.near.expect(scope, key, found.vector)
    forward = "request" if "no-cache" in directives else "miss"
    ctx.metadata[prepared.note] = {"forward": forward, "key": key, "shape": request.shape, "isFirst": found.is_first}
    return None


def pass_on(ctx: RequestContext, forward: str, directives: Mapping[str, str]) -> RequestAction:
    """Passes on a request whose answer is not kept, or refuses one that is not to go on (RFC 9111, 5.2.1.7)."""
    REQUESTS.inc(result="pass")
    if "only-if-cached" in directives:
        return llm.problem(504, "no answer to this request is kept, and it allows no other one")
    ctx.metadata[ctx.prepared.note] = {"forward": forward}
    return None


async def look_up(ctx: RequestContext, wanted: Wanted, directives: Mapping[str, str], params: Json) -> Found:
    if "no-cache" in directives:
        return Found()
    entry, near = await read(ctx.prepared, wanted.key), Found()
    if entry is None and wanted.question is not None:
        near = await find_near(ctx, wanted, wanted.question.text, directives)
        if near.entry is not None:
            return near
    if entry is None and params["waitSeconds"] and "only-if-cached" not in directives:
        if await is_first_of(ctx.prepared, wanted.key, params["waitSeconds"]):
            return Found(vector=near.vector, is_first=True)
        entry = await wait_for(ctx, wanted.key, params["waitSeconds"])
    return Found(None if entry is None or is_too_old(entry.age, directives) else entry, vector=near.vector)


async def find_near(ctx: RequestContext, wanted: Wanted, text: str, directives: Mapping[str, str]) -> Found:
    """The kept answer to the nearest question, if one is near enough, and the vector of this one."""
    prepared: Prepared = ctx.prepared
    assert prepared.embeddings is not None
    try:
        vector = Vector.of(await prepared.embeddings.vector(text, ctx.time_remaining() * EMBEDDING_SHARE))
    except UnansweredError as error:
        UNEMBEDDED.inc()
        log.warning("the embedding service gave no embedding, and the request goes on: %s", error)
        return Found()
    for similarity, key in prepared.near.find(wanted.scope, vector, prepared.threshold):
        entry = await read(prepared, key)
        if entry is None:
            prepared.near.remove(wanted.scope, key)
        elif not is_too_old(entry.age, directives):
            return Found(entry, similarity, vector)
    return Found(vector=vector)


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


def cached_answer(entry: Entry, similarity: float | None, params: Json) -> ImmediateResponse:
    REQUESTS.inc(result="hit" if similarity is None else "near")
    SAVED.inc(entry.tokens_in, kind="input")
    SAVED.inc(entry.tokens_out, kind="output")
    left = max(0, int(params["ttlSeconds"] - entry.age))
    headers = {"content-type": entry.content_type, "age": str(int(entry.age))}
    if similarity is not None:
        headers["cache-status"] = f"gatewright; hit; ttl={left}; detail=near-{similarity:.3f}"
    elif params["cacheStatus"]:
        headers["cache-status"] = f"gatewright; hit; ttl={left}"
    analytics: Json = {} if similarity is None else {"llmCache": {"similarity": round(similarity, 3)}}
    return ImmediateResponse(200, headers, entry.body, analytics_metadata=analytics)


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
        prepared.near.end(note["key"], is_kept=outcome == "stored")
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
