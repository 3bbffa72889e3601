"""Lets only answers of models pass that are JSON and fit a schema.

Whole answers are buffered and checked before the client gets a byte. A stream passes event by event but for its last
event, which waits for the check: an invalid one ends with an error event instead, in the form of its shape.

Limits. The policy does not ask the provider again: a policy cannot send its request upstream a second time, and a call
of its own would go past the budget, the routing and the credentials of the chain. Clients may ask again. In a stream
the texts have gone before the check, so a fence of Markdown cannot be removed there, and is a mistake.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from sdk import llm
from sdk.metrics import Counter
from sdk.policy import (
    Chunks,
    Reject,
    RequestAction,
    RequestContext,
    ResponseStreamContext,
    UpstreamRequestModifications,
)
from sdk.streams import SseEvent, sse_events

if TYPE_CHECKING:  # the folder's name cannot be a package's
    from checking.asking import with_wish
    from checking.schema import Validator, compile_schema, mistake_of, without_fence
    from checking.texts import CALLS, LAST, Texts, change_texts, error_event, places_of
else:
    from .checking.asking import with_wish
    from .checking.schema import Validator, compile_schema, mistake_of, without_fence
    from .checking.texts import CALLS, LAST, Texts, change_texts, error_event, places_of

Json = dict[str, Any]
ANSWERS = Counter("json_answers_total", "Answers that were checked: valid, or what was wrong.", ["result"])
NOTE = "json-answer"
MESSAGE = "the model's answer is not the JSON that is expected"
log = logging.getLogger(__name__)


def prepare(params: Json) -> Validator:
    return compile_schema(json.loads(json.dumps(params["schema"])))


def on_request(ctx: RequestContext, params: Json) -> RequestAction:
    ctx.metadata.pop(NOTE, None)  # other policies must not set it
    request = llm.read_request(ctx.method, ctx.path, ctx.body or b"")
    if request is None or request.shape == "embeddings" or "mbedContent" in ctx.path:
        return None
    if request.streams and params["streams"] == "refuse":
        return llm.problem(400, "answers are checked as a whole here: expected a request without `stream`")
    ctx.metadata[NOTE] = {"shape": request.shape}
    if params["ask"] == "nothing" or request.is_ambiguous:
        return None
    body = with_wish(request, params["ask"], json.loads(json.dumps(params["schema"])))
    return None if body is None else UpstreamRequestModifications(body=body)


async def on_response_stream(ctx: ResponseStreamContext, chunks: Chunks, params: Json) -> Chunks:
    note = ctx.metadata.get(NOTE)
    if note is None or ctx.status_code != 200:
        async for chunk in chunks:
            yield chunk
        return
    kind = ctx.headers.get("content-type", "")
    if kind.partition(";")[0].strip().lower() != "text/event-stream":
        yield await checked_answer(ctx, chunks, params)
        return
    async for piece in checked_stream(ctx, note["shape"], chunks, params):
        yield piece


async def checked_answer(ctx: ResponseStreamContext, chunks: Chunks, params: Json) -> bytes:
    """The answer, perhaps without fences. Reject: it is invalid."""
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > params["maxAnswerBytes"]:
            count("too_large")
            raise Reject(llm.problem(502, f"the model's answer has more than {params['maxAnswerBytes']} bytes"))
    original = bytes(body)
    try:
        document = json.loads(original)
    except (ValueError, RecursionError):
        return settle(original, "no_answer", params)
    texts = Texts(len(original))
    places = places_of(document)
    is_changed = params["fences"] == "remove" and change_texts(places, without_fence)
    texts.add(llm.TextDelta(place.kind, place.text, place.key) for place in places)
    texts.has_call = CALLS.search(original.decode(errors="replace")) is not None
    passed = json.dumps(document, separators=(",", ":")).encode() if is_changed else original
    return settle(passed, texts.mistake(lambda text: mistake_of(text, ctx.prepared)), params)


def settle(body: bytes, mistake: str, params: Json) -> bytes:
    count(mistake)
    if mistake and params["onInvalid"] == "refuse":
        raise Reject(llm.problem(502, MESSAGE, reason=mistake))
    return body


def count(mistake: str) -> None:
    ANSWERS.inc(result=mistake or "valid")
    if mistake:
        log.warning("invalid answer of a model: %s", mistake)


async def checked_stream(ctx: ResponseStreamContext, shape: llm.Shape, chunks: Chunks, params: Json) -> Chunks:
    reader = llm.AnswerReader(shape, "text/event-stream", with_texts=True)
    texts = Texts(params["maxAnswerBytes"])
    held: list[SseEvent] = []
    async for event in sse_events(chunks):
        data = event.data or ""
        texts.add(reader.feed(event.raw))
        texts.has_call = texts.has_call or CALLS.search(data) is not None
        if held or LAST.match(data):
            held.append(event)
        else:
            yield event.raw
    texts.add(reader.end())
    mistake = "" if reader.error else texts.mistake(lambda text: mistake_of(text, ctx.prepared))
    count(mistake)
    if mistake and params["onInvalid"] == "refuse":
        yield error_event(shape, MESSAGE)
        return
    for event in held:
        yield event.raw
