"""Bodies by their kind → the same with their texts masked: JSON, lines of JSON, forms, text; not events."""

from __future__ import annotations

import asyncio
import codecs
import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

from sdk.policy import Chunks, QueryParams
from sdk.streams import lines, text

from sdk import charsets

from .replacing import MaskedText, Masking

Json = dict[str, Any]
SLICE = 8192
"""Characters that are looked at before others on the event loop have their turn."""


class UnreadableError(ValueError):
    """A body is not what its type says, or is larger than may be gathered. The text says nothing of what came."""


@dataclass(frozen=True, slots=True)
class Places:
    """Which strings of a document: those at or below one of `include`, and of `exclude` none. Steps of JSON Pointers; a
    "*" is any one."""

    include: tuple[tuple[str, ...], ...]
    exclude: tuple[tuple[str, ...], ...]

    def has(self, steps: tuple[str, ...]) -> bool:
        return any(_below(steps, each) for each in self.include) and not any(
            _below(steps, each) for each in self.exclude
        )


def _below(steps: tuple[str, ...], wanted: tuple[str, ...]) -> bool:
    return len(steps) >= len(wanted) and all(to in ("*", step) for to, step in zip(wanted, steps, strict=False))


def steps_of(pointer: str) -> tuple[str, ...]:
    """RFC 6901."""
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:])


# ------------------------------------------------------------------ charsets


@dataclass(frozen=True, slots=True)
class Body:
    """All chunks of a body, and the encoding of its text."""

    chunks: Chunks
    encoding: str

    def in_ascii(self) -> Body:
        """Itself, for a kind whose parser looks for bytes of ASCII. UnreadableError: it is in UTF-16."""
        if self.encoding == "utf-16":
            raise UnreadableError("expected a charset that has ASCII as ASCII, got UTF-16")
        return self


async def begin_body(chunks: Chunks, content_type: str, *, xml: bool) -> Body:
    """Reads as much of a body as says what it is written in. CharsetError: it cannot be read."""
    encoding, rest = await charsets.detect_stream(chunks, charsets.of_content_type(content_type), xml=xml)
    return Body(rest, encoding)


async def _gather(body: Body, name: str, limit: int) -> bytes:
    gathered = bytearray()
    async for chunk in body.chunks:
        gathered += chunk
        if len(gathered) > limit:
            raise UnreadableError(f"expected {name} of at most {limit} bytes")
    return bytes(gathered)


# ------------------------------------------------------------------ JSON


async def masked_json(body: Body, masking: Masking, places: Places, limit: int) -> Chunks:
    document = await _gather(body, "a document", limit)
    yield await masked_document(document, body.encoding, masking, places) if document.strip() else document


async def masked_lines(body: Body, masking: Masking, places: Places, limit: int) -> Chunks:
    async for line in lines(body.chunks, limit):
        if line.strip():
            masked = await masked_document(line, body.encoding, masking, places)
            yield masked if masked is line else masked + b"\n"
        else:
            yield line


async def masked_document(body: bytes, encoding: str, masking: Masking, places: Places) -> bytes:
    """The very same bytes where nothing in them is masked."""
    try:
        document, has_twice = read_json(body.decode(encoding))
        holder = [document]
        if not await mask_strings(holder, masking, places) and not has_twice:
            return body
        return write_json(holder[0]).encode(encoding)
    except (ValueError, RecursionError):
        raise UnreadableError("expected JSON") from None


def read_json(body: str) -> tuple[Any, bool]:
    """The value, and whether a name stands twice in an object, of which the value has the last. ValueError: no JSON."""
    twice: list[bool] = []

    def members(pairs: list[tuple[str, Any]]) -> Json:
        made = dict(pairs)
        if len(made) < len(pairs):
            twice.append(True)
        return made

    return json.loads(body, object_pairs_hook=members), bool(twice)


def write_json(value: Any) -> str:
    """In ASCII: a string may have half of a character, of which a model sends the other half later."""
    return json.dumps(value, separators=(",", ":"))


async def mask_strings(holder: list[Any], masking: Masking, places: Places) -> bool:
    """Masks the strings of the value in `holder`, in place; whether there was anything to mask."""
    changed, looked_at = False, 0
    for container, key, steps in _strings(holder):
        value = container[key]
        if not places.has(steps):
            continue
        looked_at += len(value) + 1
        if len(value) <= SLICE:
            masked = masking.masked(value)
        else:
            masked = "".join([part async for part in _in_slices(_one(value), masking)])
        if looked_at > SLICE:
            looked_at = 0
            await asyncio.sleep(0)
        if masked != value:
            container[key], changed = masked, True
    return changed


def _strings(holder: list[Any]) -> Iterator[tuple[Any, Any, tuple[str, ...]]]:
    """Each string's container, its key there, and the steps that lead to it."""
    waiting: list[tuple[Any, tuple[str, ...], bool]] = [(holder, (), True)]
    while waiting:
        container, steps, is_root = waiting.pop()
        for key, value in list(container.items() if isinstance(container, dict) else enumerate(container)):
            path = steps if is_root else (*steps, str(key))
            if isinstance(value, str):
                yield container, key, path
            elif isinstance(value, dict | list):
                waiting.append((value, path, False))


# ------------------------------------------------------------------ text


async def masked_text(body: Body, masking: Masking) -> Chunks:
    """UTF-8 that is not valid stays as it is; what is not valid in another encoding raises UnreadableError."""
    errors = "surrogateescape" if body.encoding in {"utf-8", "utf-8-sig", "ascii"} else "strict"
    encoder = codecs.getincrementalencoder(body.encoding)(errors)
    try:
        async for part in _in_slices(text(body.chunks, body.encoding, errors), masking):
            yield encoder.encode(part)
    except UnicodeError:
        raise UnreadableError(f"expected text in {body.encoding}") from None


async def _in_slices(pieces: AsyncIterator[str], masking: Masking) -> AsyncIterator[str]:
    stream = MaskedText(masking)
    async for piece in pieces:
        for at in range(0, len(piece), SLICE):
            for part in stream.feed(piece[at : at + SLICE]):
                yield part
            await asyncio.sleep(0)
    for part in stream.end():
        yield part


async def _one(value: str) -> AsyncIterator[str]:
    yield value


# ------------------------------------------------------------------ forms and queries


async def masked_form(body: Body, masking: Masking, limit: int) -> Chunks:
    form = (await _gather(body, "a form", limit)).decode("utf-8", "surrogateescape")
    masked = await asyncio.to_thread(masked_pairs, form, masking.masked)  # of a large one it takes a while
    yield masked.encode("utf-8", "surrogateescape")


def masked_pairs(query: str, masked: Callable[[str], str]) -> str:
    """A query, or a form, with its values masked; what is not masked stays byte for byte as it came."""
    params = QueryParams(query)
    made: dict[str, list[str]] = {}
    changed: set[str] = set()
    for name, value in params.pairs():
        made.setdefault(name, []).append(masked(value))
        if made[name][-1] != value:
            changed.add(name)
    return str(params.replaced({name: made[name] for name in made if name in changed})) if changed else query
