"""What a recorded exchange says of a request to a language model and of its answer, read with `gatewright.llm`.

It is pure, and has the bodies as they were recorded: redacted, and cut where they were long. What it cannot know is
None.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, NamedTuple

from gatewright import llm, streams

from gatewright_controller.management.llm_tool_calls import ToolCalls
from gatewright_controller.management.shapes import llm_exchange as shapes
from gatewright_controller.management.shapes.llm_exchange import Recorded

Json = dict[str, Any]
USAGE, BUDGET, GUARD = "llm-usage", "llm-budget ", "prompt-guard"
"""The keys of metadata in which these policies leave what they did; llm-budget's goes on with its budgets' names."""
BILLION = 10**9
"""llm-budget counts money in billionths."""
_SHARED_ENDINGS: tuple[llm.Shape, ...] = ("messages", "responses")
"""Shapes whose paths end like those of other services."""
_TOKENS = ("input", "output", "cached", "cacheWritten", "reasoning")
_FINDING = {"direction", "check", "rule", "action"}


class RecordedBody(NamedTuple):
    recorded: Recorded
    content: bytes


class AnswerBody(NamedTuple):
    body: RecordedBody
    content_type: str


def read_llm_exchange(exchange: Json) -> shapes.LlmExchange | None:
    """The exchange with a model that a recorded exchange is; None if it is none."""
    request = _object(exchange.get("request"))
    path = _text(request.get("path")) + (f"?{request['query']}" if request.get("query") else "")
    route = llm.shape_of_path(path) if request.get("method") == "POST" else None
    if route is None:
        return None
    body = _body(request)
    asked = llm.read_request("POST", path, body.content) if body.recorded == "whole" else None
    metadata = _object(exchange.get("metadata"))
    if asked is None and not _is_known(route.shape, body, metadata):
        return None
    note = _object(metadata.get(USAGE))
    answer = _answer_body(exchange, "response")
    reader, shown = _read_answer(route.shape, answer)
    usage_from, tokens = _tokens(route.shape, note, exchange)
    streams_by_note = note.get("streams") if isinstance(note.get("streams"), bool) else None
    guard = _object(metadata.get(GUARD))
    return shapes.LlmExchange(
        shape=route.shape,
        model=(asked.model if asked else _noted_model(metadata) or route.model) or None,
        answer_model=reader.model or None,
        streams=asked.streams if asked else streams_by_note,
        prompt=_prompt(asked, body),
        answer=shown,
        usage_from=usage_from,
        tokens=tokens,
        cost=_text(note.get("cost")) or None,
        outcome=_text(note.get("outcome")) or None,
        client=_text(note.get("client")) or None,
        team=_text(note.get("team")) or None,
        budgets=list(_budgets(metadata)),
        verdict=_text(guard.get("verdict")) or None,
        findings=[_finding(finding) for finding in _objects(guard.get("findings"))],
    )


def _is_known(shape: llm.Shape, body: RecordedBody, metadata: Json) -> bool:
    """Whether a request whose body cannot be read is one to a model, by its path or by what a policy has left."""
    is_noted = any(name in (USAGE, GUARD) or name.startswith(BUDGET) for name in metadata)
    return is_noted or (body.recorded != "whole" and shape not in _SHARED_ENDINGS)


def _noted_model(metadata: Json) -> str:
    """The model that the client asked for, as a policy has noted it; "" if none has. llm-usage puts that of the answer
    in its place when it has counted."""
    usage = _object(metadata.get(USAGE))
    notes = [_object(metadata[name]) for name in metadata if name == GUARD or name.startswith(BUDGET)]
    models = [_text(note.get("model")) for note in (*notes, {} if "outcome" in usage else usage)]
    return next(filter(None, models), "")


def _prompt(asked: llm.LlmRequest | None, body: RecordedBody) -> shapes.LlmPrompt:
    if asked is None:
        return shapes.LlmPrompt(recorded=body.recorded, texts=[], tools=[])
    texts = [shapes.LlmPromptText(role=text.role, text=text.text) for text in asked.texts()]
    return shapes.LlmPrompt(recorded="whole", texts=texts, tools=list(asked.tools()))


# ------------------------------------------------------------------ the answer


def _answer_body(exchange: Json, *names: str) -> AnswerBody:
    """The body of the first of these messages that has one."""
    messages = [_object(exchange.get(name)) for name in names]
    message = next((message for message in messages if "body" in message), messages[0])
    fields = [field for field in message.get("headers") or () if isinstance(field, list) and len(field) == 2]
    content_type = next((str(value) for name, value in fields if name == "content-type"), "")
    return AnswerBody(_body(message), content_type)


def _read_answer(shape: llm.Shape, answer: AnswerBody) -> tuple[llm.AnswerReader, shapes.LlmAnswer]:
    reader = llm.AnswerReader(shape, answer.content_type, with_texts=True)
    texts: dict[Any, tuple[Any, str]] = {}
    for delta in (*reader.feed(answer.body.content), *reader.end()):
        kind, text = texts.get(delta.key, (delta.kind, ""))
        texts[delta.key] = kind, text + delta.text
    calls, is_array = ToolCalls(), answer.body.content.lstrip().startswith(b"[")
    for document in _documents(answer.body.content):
        calls.read(document)
    error = reader.error
    recorded = answer.body.recorded
    shown = shapes.LlmAnswer(
        recorded=recorded,
        streamed=None if recorded == "absent" else reader.is_stream or is_array,
        texts=[shapes.LlmAnswerText(kind=kind, text=text) for kind, text in texts.values() if kind != "arguments"],
        tool_calls=[shapes.LlmToolCall(name=name, arguments=arguments) for name, arguments in calls.pairs()],
        finished=reader.finished if recorded == "whole" else None,
        error=shapes.LlmError(type=error.type, message=error.message, code=error.code) if error else None,
    )
    return reader, shown


def _documents(content: bytes) -> Iterator[Any]:
    """The events of a stream or of an array, or the one document of a whole answer."""
    if content.lstrip()[:1] in (b"{", b"["):
        document = _parse(content)
        yield from document if isinstance(document, list) else [document]
        return
    parser = streams.SseParser()
    for event in (*parser.feed(content), *parser.end()):
        yield _parse(event.data or "")


def _parse(text: str | bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


# ------------------------------------------------------------------ what policies have left


def _tokens(shape: llm.Shape, note: Json, exchange: Json) -> tuple[Any, shapes.LlmTokens | None]:
    """What llm-usage counted, or else what the provider's whole answer says: the chunk of usage may not have gone to
    the client. The beginning of a stream may have counts that its end replaces."""
    counts = _object(note.get("tokens"))
    if all(isinstance(counts.get(name), int) for name in _TOKENS):
        values = [counts[name] for name in _TOKENS]
        return USAGE, shapes.LlmTokens(**dict(zip(shapes.LlmTokens.__struct_fields__, values, strict=True)))
    if note.get("outcome") == "no_usage":
        return "none", None
    answer = _answer_body(exchange, "upstreamResponse", "response")
    if answer.body.recorded != "whole":
        return "unknown", None
    usage = _read_answer(shape, answer)[0].usage
    if usage is None:
        return "none", None
    tokens = shapes.LlmTokens(
        input=usage.input,
        output=usage.output,
        cached=usage.cached,
        cache_written=usage.cache_written,
        reasoning=usage.reasoning,
    )
    return "answer", tokens


def _budgets(metadata: Json) -> Iterator[shapes.LlmBudget]:
    for name, note in metadata.items():
        for item in _objects(_object(note).get("reservations") if name.startswith(BUDGET) else None):
            unit: Any = item.get("unit") if item.get("unit") in ("tokens", "money") else None
            reserved, settled = (_amount(unit, item.get(member)) for member in ("reserved", "settled"))
            yield shapes.LlmBudget(budget=_text(item.get("budget")), unit=unit, reserved=reserved, settled=settled)


def _amount(unit: str | None, value: Any) -> str | None:
    if unit is None or not isinstance(value, int) or isinstance(value, bool):
        return None
    return str(value) if unit == "tokens" else f"{(Decimal(value) / BILLION).normalize():f}"


def _finding(finding: Json) -> shapes.LlmVerdict:
    named = {name: _text(finding.get(name)) for name in _FINDING}
    return shapes.LlmVerdict(**named, details={name: finding[name] for name in finding if name not in _FINDING})


# ------------------------------------------------------------------ recorded values


def _body(message: Json) -> RecordedBody:
    body = message.get("body")
    if not isinstance(body, dict):
        return RecordedBody("absent", b"")
    recorded: Recorded = "cut" if body.get("truncated") else "whole"
    if isinstance(body.get("text"), str):
        return RecordedBody(recorded, body["text"].encode(errors="replace"))
    if isinstance(body.get("base64"), str):
        try:
            return RecordedBody(recorded, base64.b64decode(body["base64"]))
        except (binascii.Error, ValueError):
            return RecordedBody("unreadable", b"")
    return RecordedBody("unreadable" if body.get("size") else "whole", b"")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _object(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


def _objects(value: Any) -> Iterator[Json]:
    return (item for item in (value if isinstance(value, list) else ()) if isinstance(item, dict))
