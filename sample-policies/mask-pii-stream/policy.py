"""Masks e-mail addresses, card numbers and phone numbers in a model's text while it streams.

In an event stream (text/event-stream) it follows the text of chat completions (`choices[].delta.content`) and of
messages (`content_block_delta` with `delta.text`) from event to event, so that it finds a number that comes in several
tokens. Each event goes on at once; the possible beginning of a match is held back, and goes with the next event, or, if
the text ends, in an event of its own. All other strings are masked one by one, also in whole JSON documents; text/* is
one text.

Limits: it finds matches of its patterns. The arguments of a tool call, which come as JSON in parts, are masked part by
part, and so are `logprobs`. Bodies that are neither text nor JSON pass unmasked. Text in UTF-16, or in a charset that
is not one of `sdk.charsets`, is refused with a 502.
"""

import json
import re
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Any

from sdk import charsets
from sdk.policy import Chunks, ImmediateResponse, Reject, ResponseStreamContext
from sdk.streams import Replacer, SseEvent, parse, replaced, sse_events, text

Json = dict[str, Any]
Part = tuple[Json, str, Hashable]
"""The place of a part of a text: its object, the member's name, and the text's key."""

KINDS = {  # a pattern, and one that matches every beginning of its matches
    "email": (
        r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,3}",
        r"[A-Za-z0-9._%+-]{1,64}(?:@[A-Za-z0-9.-]{0,256})?",
    ),
    "card": (r"(?<![\d+])[0-9](?:[ -]?[0-9]){12,18}(?![0-9])", r"[0-9][0-9 -]{0,37}"),
    "phone": (r"\+[0-9](?:[ ()-]{0,2}[0-9]){6,14}(?![0-9])", r"\+[0-9 ()-]{0,44}"),
}
LONGEST = 64 + 1 + 4 * 64
"""The length of the longest match, an e-mail address."""


@dataclass(frozen=True, slots=True)
class Masking:
    pattern: re.Pattern[str]
    begins: re.Pattern[str]
    mask: str

    def masked(self, whole: str) -> str:
        return self.pattern.sub(self.replace, whole)

    def replace(self, match: re.Match[str]) -> str:
        return match[0] if match.lastgroup == "card" and not luhn(match[0]) else self.mask

    def replacer(self) -> Replacer[str]:
        return Replacer(self.pattern, self.replace, longest=LONGEST, begins=self.begins)


def prepare(params: Json) -> Masking:
    patterns = "|".join(f"(?P<{kind}>{KINDS[kind][0]})" for kind in params["kinds"])
    beginnings = "|".join(KINDS[kind][1] for kind in params["kinds"])
    return Masking(re.compile(patterns), re.compile(beginnings), params["mask"])


async def on_response_stream(ctx: ResponseStreamContext, chunks: Chunks, params: Json) -> Chunks:
    masking: Masking = ctx.prepared
    content_type = ctx.headers.get("content-type", "")
    media_type = content_type.partition(";")[0].strip().lower()
    is_json = media_type.endswith(("/json", "+json"))
    if is_json or media_type.startswith("text/"):
        chunks = await readable(chunks, content_type)
    if media_type == "text/event-stream":
        async for piece in parse(sse_events(chunks, params["maxBytes"]), MaskedEvents(masking)):
            yield piece
    elif is_json:
        yield masked_json(await whole(chunks, params["maxBytes"]), masking)
    elif media_type.startswith("text/"):
        parts = text(chunks, errors="surrogateescape")
        async for part in replaced(parts, masking.pattern, masking.replace, longest=LONGEST, begins=masking.begins):
            yield part.encode(errors="surrogateescape")
    else:
        async for chunk in chunks:
            yield chunk


async def readable(chunks: Chunks, content_type: str) -> Chunks:
    """The chunks of a text in a charset that encodes ASCII as ASCII, as the patterns require."""
    try:
        encoding, chunks = await charsets.detect_stream(chunks, charsets.of_content_type(content_type))
    except charsets.CharsetError:
        encoding = ""
    if encoding in {"", "utf-16"}:
        raise Reject(ImmediateResponse(502, body="expected an answer in UTF-8\n"))
    return chunks


class MaskedEvents:
    """A Parser that takes events and returns masked bytes."""

    def __init__(self, masking: Masking) -> None:
        self._masking = masking
        self._texts: dict[Hashable, Text] = {}

    def feed(self, event: SseEvent) -> Iterator[bytes]:
        if not event.is_whole:
            return  # clients ignore an event without its end
        if event.data is None:
            yield event.raw
        elif isinstance(document := parsed(event.data), dict):
            parts = list(parts_of_texts(document))
            ends = set(ended_texts(document))
            yield from self._rests(ends - {key for _, _, key in parts})
            yield self._masked(event, document, parts, ends)
        else:
            yield from self.end()
            yield event.with_data(self._masking.masked(event.data)).encode()

    def end(self) -> Iterator[bytes]:
        return self._rests(set(self._texts))

    def _masked(self, event: SseEvent, document: Json, parts: list[Part], ends: set[Hashable]) -> bytes:
        values = [holder[name] for holder, name, _ in parts]
        mask_strings(document, self._masking)
        for (holder, name, key), value in zip(parts, values, strict=True):
            if key not in self._texts:
                self._texts[key] = Text(self._masking.replacer())
            holder[name] = self._texts[key].next(value)
            if key in ends:
                holder[name] += self._texts.pop(key).rest()
        encoded = encode(event, document)
        for holder, name, key in parts:
            if key in self._texts:
                self._texts[key].remember(event, document, parts, (holder, name))
        return encoded

    def _rests(self, keys: set[Hashable]) -> Iterator[bytes]:
        for key in [known for known in self._texts if known in keys]:
            yield from self._texts.pop(key).rest_event()


class Text:
    """A text that comes in parts."""

    def __init__(self, replacer: Replacer[str]) -> None:
        self._replacer = replacer

    def next(self, part: str) -> str:
        return "".join(self._replacer.feed(part))

    def rest(self) -> str:
        return "".join(self._replacer.end())

    def remember(self, event: SseEvent, document: Json, parts: list[Part], place: tuple[Json, str]) -> None:
        self._event, self._document, self._parts, self._place = event, document, parts, place

    def rest_event(self) -> Iterator[bytes]:
        """An event like the last one of this text, with the text held back, if there is any."""
        if rest := self.rest():
            for holder, name, _ in self._parts:
                holder[name] = ""
            holder, name = self._place
            holder[name] = rest
            yield encode(self._event, self._document)


def parts_of_texts(document: Json) -> Iterator[Part]:
    choices, delta = document.get("choices"), document.get("delta")
    for choice in choices if isinstance(choices, list) else []:
        message = choice.get("delta") if isinstance(choice, dict) else None
        if isinstance(message, dict) and isinstance(message.get("content"), str):
            yield message, "content", ("choice", choice.get("index"))
    if isinstance(delta, dict) and isinstance(delta.get("text"), str):
        yield delta, "text", ("block", document.get("index"))


def ended_texts(document: Json) -> Iterator[Hashable]:
    """The keys of texts that end with this document."""
    choices = document.get("choices")
    for choice in choices if isinstance(choices, list) else []:
        if isinstance(choice, dict) and choice.get("finish_reason") is not None:
            yield "choice", choice.get("index")
    if document.get("type") == "content_block_stop":
        yield "block", document.get("index")


def mask_strings(value: Any, masking: Masking) -> Any:
    """The value with each of its strings masked; objects and lists are changed in place."""
    if isinstance(value, str):
        return masking.masked(value)
    if isinstance(value, dict):
        value.update({name: mask_strings(member, masking) for name, member in value.items()})
    elif isinstance(value, list):
        value[:] = [mask_strings(member, masking) for member in value]
    return value


def masked_json(body: bytes, masking: Masking) -> bytes:
    """The masked body, as JSON, or as a text if it is no JSON."""
    content = body.decode("utf-8", "surrogateescape")
    document = parsed(content)
    result = masking.masked(content) if document is None else dumped(mask_strings(document, masking))
    return result.encode("utf-8", "surrogateescape")


async def whole(chunks: Chunks, limit: int) -> bytes:
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > limit:
            raise Reject(ImmediateResponse(502, body=f"expected an answer of at most {limit} bytes\n"))
    return bytes(body)


def parsed(data: str) -> Any:
    """The JSON value; None if the data is no JSON."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def dumped(document: Any) -> str:
    return json.dumps(document, separators=(",", ":"))


def encode(event: SseEvent, document: Json) -> bytes:
    return event.with_data(dumped(document)).encode()


def luhn(number: str) -> bool:
    """Whether the check digit of a card number is right (ISO/IEC 7812-1)."""
    digits = [int(digit) for digit in reversed(number) if digit.isdigit()]
    return sum(digits[::2] + [sum(divmod(2 * digit, 10)) for digit in digits[1::2]]) % 10 == 0
