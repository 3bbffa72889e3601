"""Lets only answers of models pass that are JSON and fit a schema.

Whole answers are buffered and checked before the client gets a byte. A stream passes event by event but for its last
event, which waits for the check: an invalid one ends with an error event instead, in the form of its shape.

A whole answer that is wrong is asked for once more where `retry` says so: a request to the gateway itself, with the
wrong answer and what is wrong with it, goes through the whole chain, and so costs and counts as any other.

Limits. In a stream the texts have gone before the check, so the model is not asked again, and a fence of Markdown
cannot be removed there, and is a mistake.
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
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
    from checking.retry import Question, Retry, open_retry, question_of
    from checking.schema import Validator, compile_schema, explain, mistake_of, without_fence
    from checking.texts import CALLS, LAST, Texts, change_texts, error_event, places_of
else:
    from .checking.asking import with_wish
    from .checking.retry import Question, Retry, open_retry, question_of
    from .checking.schema import Validator, compile_schema, explain, mistake_of, without_fence
    from .checking.texts import CALLS, LAST, Texts, change_texts, error_event, places_of

Json = dict[str, Any]
ANSWERS = Counter("json_answers_total", "Answers that were checked: valid, or what was wrong.", ["result"])
RETRIES = Counter(
    "json_answer_retries_total", "Second requests, by the second answer: valid, invalid, or failed.", ["result"]
)
NOTE = "json-answer"
MESSAGE = "the model's answer is not the JSON that is expected"
REQUEST = "credentialedRequest"
"""The note's member for the request and its credentials. Recordings leave out what begins with `credential`."""
ASKED_AGAIN = ("syntax", "schema", "empty")
"""The mistakes that a model may correct. It has decided a refusal, and another answer is no answer of a model."""
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Prepared:
    validator: Validator
    retry: Retry | None


@dataclass(frozen=True, slots=True)
class Checked:
    body: bytes
    """The answer, without fences if they are removed."""
    mistake: str
    """"" if the answer is valid."""
    wrong: str = ""
    """The text that is wrong."""


async def prepare(params: Json) -> AsyncIterator[Prepared]:
    validator = compile_schema(json.loads(json.dumps(params["schema"])))
    async with open_retry(params.get("retry"), params["maxAnswerBytes"]) as retry:
        yield Prepared(validator, retry)


def on_request(ctx: RequestContext, params: Json) -> RequestAction:
    ctx.metadata.pop(NOTE, None)  # other policies must not set it
    request = llm.read_request(ctx.method, ctx.path, ctx.body or b"")
    if request is None or request.shape == "embeddings" or "mbedContent" in ctx.path:
        return None
    if request.streams and params["streams"] == "refuse":
        return llm.problem(400, "answers are checked as a whole here: expected a request without `stream`")
    question = question_of(ctx, request, params["retry"]) if "retry" in params else None
    ctx.metadata[NOTE] = {"shape": request.shape} | ({REQUEST: asdict(question)} if question is not None else {})
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
    question = note.get(REQUEST)
    ctx.metadata[NOTE] = {"shape": note["shape"]}  # the request is not for what comes after
    kind = ctx.headers.get("content-type", "")
    if kind.partition(";")[0].strip().lower() != "text/event-stream":
        yield await checked_answer(ctx, question, chunks, params)
        return
    async for piece in checked_stream(ctx, note["shape"], chunks, params):
        yield piece


async def checked_answer(ctx: ResponseStreamContext, question: Json | None, chunks: Chunks, params: Json) -> bytes:
    """The answer, or the second one, perhaps without fences. Reject: it is invalid."""
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > params["maxAnswerBytes"]:
            count("too_large")
            raise Reject(llm.problem(502, f"the model's answer has more than {params['maxAnswerBytes']} bytes"))
    prepared: Prepared = ctx.prepared
    checked = check(bytes(body), prepared.validator, params)
    count(checked.mistake)
    if checked.mistake in ASKED_AGAIN:
        checked = await second_answer(ctx, question, checked, params) or checked
    if checked.mistake and params["onInvalid"] == "refuse":
        raise Reject(llm.problem(502, MESSAGE, reason=checked.mistake))
    return checked.body


def check(answer: bytes, validator: Validator, params: Json) -> Checked:
    try:
        document = json.loads(answer)
    except (ValueError, RecursionError):
        return Checked(answer, "no_answer")
    texts = Texts(len(answer))
    places = places_of(document)
    is_changed = params["fences"] == "remove" and change_texts(places, without_fence)
    texts.add(llm.TextDelta(place.kind, place.text, place.key) for place in places)
    texts.has_call = CALLS.search(answer.decode(errors="replace")) is not None
    mistake, wrong = texts.mistake(lambda text: mistake_of(text, validator))
    body = json.dumps(document, separators=(",", ":")).encode() if is_changed else answer
    return Checked(body, mistake, wrong)


async def second_answer(
    ctx: ResponseStreamContext, question: Json | None, first: Checked, params: Json
) -> Checked | None:
    """None: the model is not asked again, or has not answered."""
    prepared: Prepared = ctx.prepared
    if prepared.retry is None or question is None:
        return None
    explanation = explain(first.wrong, prepared.validator) if first.wrong else "it has no text"
    seconds, trace = ctx.request.time_remaining(), ctx.request.traceparent
    answer = await prepared.retry.ask(Question(**question), first.wrong, explanation, seconds=seconds, trace=trace)
    second = None if answer is None else check(answer, prepared.validator, params)
    if second is not None and second.mistake == "no_answer":
        second = None
    RETRIES.inc(result="failed" if second is None else "invalid" if second.mistake else "valid")
    return second


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
    validator = ctx.prepared.validator
    mistake = "" if reader.error else texts.mistake(lambda text: mistake_of(text, validator))[0]
    count(mistake)
    if mistake and params["onInvalid"] == "refuse":
        yield error_event(shape, MESSAGE)
        return
    for event in held:
        yield event.raw
