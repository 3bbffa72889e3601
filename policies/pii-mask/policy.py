"""Masks card numbers, IBANs, e-mail addresses, phone numbers, further kinds, and matches of the publisher's patterns.

Text is masked while it streams: a number that is split over chunks, or over the tokens of a model in an event stream,
is found as if it were whole. JSON documents are buffered, up to `maxBytes`, and refused if they cannot be parsed; JSON
lines go on line by line. Forms, values of the query, and headers that the parameters name are masked too.

Limits. It finds matches of its patterns, in ASCII digits and letters: in JSON in strings only, not in member names and
numbers; in XML not in entities. Multipart bodies, and bodies that are neither text, JSON, XML, events nor a form, are
refused, or pass unmasked, as `otherTypes` says. Text is decoded by its byte order mark, its charset or its XML
declaration, and refused if that is not one of `sdk.charsets`. A JSON document in which something is masked is written
anew, so that whitespace and the notation of numbers may differ. Path and trailers are not masked.

With `presidio`, what Presidio finds in whole texts is masked too. Then text is buffered, up to `maxBytes`, and events
are refused, whose texts come in pieces.

Where a kind is replaced by tokens, the answer's tokens are replaced by the client's values again: in text of any type
as it streams, and in the texts of a model that come in events. A value with a quote, a backslash or a character that
cannot be printed, and the values after the first thousand of an exchange, get no token, but `[masked]`. Tokens stay in
an answer that begins before the request's body has ended, that is in UTF-16, or in which they are encoded in some way
(percent-encoding, base64).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from sdk import charsets
from sdk.masking import Detector, Masking, Replace
from sdk.metrics import Counter
from sdk.policy import (
    Chunks,
    Headers,
    Reject,
    RequestAction,
    RequestContext,
    RequestStreamContext,
    ResponseAction,
    ResponseContext,
    ResponseStreamContext,
    UpstreamRequestModifications,
    UpstreamResponseModifications,
)
from sdk.problems import problem
from sdk.streams import StreamError

if TYPE_CHECKING:  # the folder's name cannot be a package's
    from masking import bodies
    from masking.detectors import BUILT_IN, compile_custom
    from masking.events import mask_events
    from masking.presidio import Analyzers, Finder
    from masking.replacing import hash_values, keep_last, set_text
    from masking.tokens import KEY, Tokens, restore_bytes, restore_events, restoring
    from masking.whole import WholeMasking
else:
    from .masking import bodies
    from .masking.detectors import BUILT_IN, compile_custom
    from .masking.events import mask_events
    from .masking.presidio import Analyzers, Finder
    from .masking.replacing import hash_values, keep_last, set_text
    from .masking.tokens import KEY, Tokens, restore_bytes, restore_events, restoring
    from .masking.whole import WholeMasking

Json = dict[str, Any]
Kind = Literal["json", "lines", "form", "events", "xml", "text", "other"]
MASKED = Counter("pii_masked_total", "Values that were masked.", ["direction", "detector"])
RESTORED = Counter("pii_restored_total", "Tokens of answers that were replaced by the client's values.")
LINES = {"application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"}
TEXT = {
    "",
    "application/javascript",
    "application/ecmascript",
    "application/yaml",
    "application/sql",
}
"""Text types besides text/* and XML; "" is a body without a content type."""
FORM = "application/x-www-form-urlencoded"
EVENTS = "text/event-stream"
MIN_KEY = 16
"""The least number of characters of a key. The schema cannot check the length of a named secret."""


class OtherTypeError(Exception):
    """A body is of a kind that is not masked."""


@dataclass(frozen=True, slots=True)
class Refusals:
    """Statuses of the answers to bodies that cannot be read, and to bodies of a kind that is not masked."""

    unreadable: int
    other_type: int


@dataclass(frozen=True, slots=True)
class Prepared:
    """The masking of each direction; None: the direction is not masked. with_tokens: the kinds that tokens replace.
    finder: None without Presidio."""

    request: Masking | None
    response: Masking | None
    places: bodies.Places
    with_tokens: frozenset[str]
    finder: Finder | None

    def of_request(self, tokens: Tokens) -> bodies.AnyMasking | None:
        """The request's masking with the tokens of one exchange."""
        if self.request is None or not self.with_tokens:
            return self._with_finder(self.request)
        own = {name: partial(tokens.replace, name) for name in self.with_tokens}
        return self._with_finder(replace(self.request, replacements={**self.request.replacements, **own}))

    def of_response(self) -> bodies.AnyMasking | None:
        return self._with_finder(self.response)

    def _with_finder(self, masking: Masking | None) -> bodies.AnyMasking | None:
        return WholeMasking(masking, self.finder) if masking and self.finder else masking


def setup() -> Iterator[Analyzers]:
    analyzers = Analyzers()
    yield analyzers
    analyzers.close()


def prepare(params: Json, shared: Analyzers) -> Prepared:
    patterns = params["patterns"]
    own_names = [pattern["name"] for pattern in patterns]
    names = [*params["detect"], *own_names, *params.get("presidio", {}).get("entities", [])]
    duplicates = sorted({name for name in names if names.count(name) > 1} | ({*BUILT_IN} & {*own_names}))
    if duplicates:
        raise ValueError(f"expected a unique name for each pattern, got {', '.join(duplicates)} again")
    if not names:
        raise ValueError("expected something to mask in detect, patterns or presidio, got nothing")
    unknown = sorted({*params["replacements"]} - {*names})
    if unknown:
        raise ValueError(f"expected replacements for {', '.join(names)}, got some for {', '.join(unknown)}")
    detectors: list[Detector] = [
        *(BUILT_IN[name] for name in params["detect"]),
        *(compile_custom(pattern["name"], pattern["regex"]) for pattern in patterns),
    ]
    chosen = {name: params["replacements"].get(name, params["replacement"]) for name in names}
    replacements = {name: _replace(name, replacement, params) for name, replacement in chosen.items()}
    with_tokens = frozenset(name for name, replacement in chosen.items() if replacement["with"] == "token")
    if with_tokens and params["directions"] != ["request"]:
        raise ValueError(
            f"expected directions: [request], since {', '.join(sorted(with_tokens))} is replaced by tokens, which the "
            f"answer's are replaced by, got {', '.join(params['directions'])}; mask answers by another attachment"
        )

    def masking_of(direction: str) -> Masking | None:
        counters = {name: MASKED.labels(direction=direction, detector=name) for name in names}
        if direction not in params["directions"]:
            return None
        return Masking(detectors, replacements, lambda name: counters[name].inc())

    include, exclude = (tuple(map(bodies.steps_of, params[name])) for name in ("include", "exclude"))
    places = bodies.Places(include, exclude)
    finder = shared.finder(params["presidio"]) if "presidio" in params else None
    return Prepared(masking_of("request"), masking_of("response"), places, with_tokens, finder)


def _replace(name: str, replacement: Json, params: Json) -> Replace:
    match replacement["with"]:
        case "text":
            return set_text(replacement.get("text", "[masked]"))
        case "keepLast":
            return keep_last(replacement.get("keep", 4))
        case "token":
            return set_text("[masked]")  # each exchange has tokens of its own
        case _:
            if "hashKey" not in params:
                raise ValueError(f"expected hashKey, since {name} is replaced by a hash, got none")
            key = params["hashKey"].reveal()
            if len(key) < MIN_KEY:
                raise ValueError(f"hashKey: expected {MIN_KEY} characters and more, got fewer")
            return hash_values(name, key.encode())


# ------------------------------------------------------------------ headers and query


def on_request(ctx: RequestContext, params: Json) -> RequestAction:
    tokens = Tokens(ctx.metadata.get(KEY, {}))
    masking: bodies.AnyMasking | None = ctx.prepared.of_request(tokens)
    if masking is None:
        return None
    headers = mask_headers(ctx.headers, params["headers"], masking.mask)
    query = bodies.mask_pairs(ctx.query, masking.mask) if params["query"] else ctx.query
    tokens.store(ctx.metadata)
    if not headers and query == ctx.query:
        return None
    return UpstreamRequestModifications(set_headers=headers, query=None if query == ctx.query else query)


def on_response(ctx: ResponseContext, params: Json) -> ResponseAction:
    masking: bodies.AnyMasking | None = ctx.prepared.of_response()
    if values := known_values(ctx):
        masking = restoring(values, RESTORED.inc)
    headers = mask_headers(ctx.headers, params["headers"], masking.mask) if masking else {}
    return UpstreamResponseModifications(set_headers=headers) if headers else None


def known_values(ctx: ResponseContext) -> Mapping[str, str]:
    """The exchange's values by their tokens; none if this attachment makes no tokens."""
    return ctx.metadata.get(KEY, {}) if ctx.prepared.with_tokens else {}


def mask_headers(headers: Headers, names: list[str], mask: Callable[[str], str]) -> dict[str, list[str]]:
    """Returns the masked lines of the headers in which something is masked."""
    lines = {name: headers.get_all(name) for name in names}
    results = {name: [mask(line) for line in values] for name, values in lines.items()}
    return {name: values for name, values in results.items() if values != lines[name]}


# ------------------------------------------------------------------ bodies


async def on_request_stream(ctx: RequestStreamContext, chunks: Chunks, params: Json) -> Chunks:
    refusals = Refusals(unreadable=400, other_type=415)
    tokens = Tokens(ctx.metadata.get(KEY, {}))
    masking = ctx.prepared.of_request(tokens)
    async for chunk in mask_body(ctx.headers, chunks, masking, ctx.prepared.places, params, refusals):
        yield chunk
    tokens.store(ctx.metadata)


async def on_response_stream(ctx: ResponseStreamContext, chunks: Chunks, params: Json) -> Chunks:
    if values := known_values(ctx):
        async for chunk in restore_body(ctx.headers, chunks, values, params["maxBytes"]):
            yield chunk
        return
    refusals = Refusals(unreadable=502, other_type=502)
    masking = ctx.prepared.of_response()
    async for chunk in mask_body(ctx.headers, chunks, masking, ctx.prepared.places, params, refusals):
        yield chunk


async def mask_body(
    headers: Headers,
    chunks: Chunks,
    masking: bodies.AnyMasking | None,
    places: bodies.Places,
    params: Json,
    refusals: Refusals,
) -> Chunks:
    if masking is None:
        async for chunk in chunks:
            yield chunk
        return
    lines = headers.get_all("content-type")
    try:
        if len(lines) > 1:
            raise bodies.UnreadableError("expected one content-type")
        async for chunk in _mask_by_type("".join(lines), chunks, masking, places, params):
            yield chunk
    except OtherTypeError as error:
        raise Reject(problem(refusals.other_type, f"the body cannot be masked: {error}")) from None
    except (bodies.UnreadableError, charsets.CharsetError, StreamError) as error:
        raise Reject(problem(refusals.unreadable, f"the body cannot be masked: {error}")) from None


async def restore_body(headers: Headers, chunks: Chunks, values: Mapping[str, str], limit: int) -> Chunks:
    content_type = headers.get("content-type", "")
    if content_type.partition(";")[0].strip().lower() == EVENTS:
        result = restore_events(chunks, restoring(values, RESTORED.inc), limit)
    else:
        try:
            encoding = charsets.encoding(charsets.of_content_type(content_type) or "utf-8")
        except charsets.CharsetError:
            encoding = "ascii"
        result = restore_bytes(chunks, values, encoding, RESTORED.inc)
    try:
        async for chunk in result:
            yield chunk
    except StreamError as error:
        raise Reject(problem(502, f"the answer's tokens cannot be replaced: {error}")) from None


async def _mask_by_type(
    content_type: str, chunks: Chunks, masking: bodies.AnyMasking, places: bodies.Places, params: Json
) -> Chunks:
    kind = kind_of(content_type.partition(";")[0].strip().lower())
    if kind == "other":
        result = pass_or_refuse(chunks, params["otherTypes"])
    else:
        body = await bodies.begin_body(chunks, content_type, xml=kind == "xml")
        result = mask_by_kind(kind, body, masking, places, params["maxBytes"])
    async for chunk in result:
        yield chunk


async def pass_or_refuse(chunks: Chunks, other_types: str) -> Chunks:
    async for chunk in chunks:
        if chunk and other_types == "refuse":
            raise OtherTypeError("expected text, JSON, XML, events or a form")
        yield chunk


def mask_by_kind(
    kind: Kind, body: bodies.Body, masking: bodies.AnyMasking, places: bodies.Places, limit: int
) -> Chunks:
    match kind:
        case "json":
            return bodies.mask_json(body, bodies.strings_masker(masking, places), limit)
        case "form":
            return bodies.mask_form(body.in_ascii(), masking, limit)
        case "lines":
            return bodies.mask_lines(body.in_ascii(), bodies.strings_masker(masking, places), limit)
        case "events":
            if isinstance(masking, WholeMasking):
                raise OtherTypeError("Presidio searches whole texts, and the texts of events come in pieces")
            return mask_events(body.in_ascii().chunks, masking, places, limit)
        case _:
            return bodies.mask_text(body, masking, limit)


def kind_of(media_type: str) -> Kind:
    if media_type == EVENTS:
        return "events"
    if media_type in LINES:
        return "lines"
    if media_type.endswith(("/json", "+json")):
        return "json"
    if media_type == FORM:
        return "form"
    if media_type.endswith(("/xml", "+xml")):
        return "xml"
    return "text" if media_type in TEXT or media_type.startswith("text/") else "other"
