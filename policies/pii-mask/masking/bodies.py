"""Masks bodies by their kind: JSON, JSON lines, forms, text; events.py masks event streams."""

from __future__ import annotations

import asyncio
import codecs
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sdk import charsets
from sdk.masking import Masking, change_strings, mask_slices, mask_strings, read_json, write_json
from sdk.policy import Chunks, QueryParams
from sdk.streams import lines, text

if TYPE_CHECKING:
    from masking.whole import WholeMasking
else:
    from .whole import WholeMasking

AnyMasking = Masking | WholeMasking
MaskHolder = Callable[[list[Any]], Awaitable[bool]]
"""Masks the strings of the value in a list, in place. Returns whether anything was masked."""


class UnreadableError(ValueError):
    """A body is not of its content type, or too large to be buffered. The text quotes nothing of the body."""


@dataclass(frozen=True, slots=True)
class Places:
    """Selects strings of a document: those at or below one of `include`, but none of `exclude`. Both are steps of JSON
    Pointers; "*" is any step."""

    include: tuple[tuple[str, ...], ...]
    exclude: tuple[tuple[str, ...], ...]

    def has(self, steps: tuple[str, ...]) -> bool:
        return any(_below(steps, place) for place in self.include) and not any(
            _below(steps, place) for place in self.exclude
        )


def _below(steps: tuple[str, ...], place: tuple[str, ...]) -> bool:
    return len(steps) >= len(place) and all(to in ("*", step) for to, step in zip(place, steps, strict=False))


def steps_of(pointer: str) -> tuple[str, ...]:
    """The steps of a JSON Pointer (RFC 6901)."""
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:])


# ------------------------------------------------------------------ charsets


@dataclass(frozen=True, slots=True)
class Body:
    """All chunks of a body, and the encoding of its text."""

    chunks: Chunks
    encoding: str

    def in_ascii(self) -> Body:
        """The body, for a kind whose parser searches for ASCII bytes. UnreadableError: it is in UTF-16."""
        if self.encoding == "utf-16":
            raise UnreadableError("expected a charset that encodes ASCII as ASCII, got UTF-16")
        return self


async def begin_body(chunks: Chunks, content_type: str, *, xml: bool) -> Body:
    """Reads the beginning of a body that shows its encoding. CharsetError: the encoding is not supported."""
    encoding, rest = await charsets.detect_stream(chunks, charsets.of_content_type(content_type), xml=xml)
    return Body(rest, encoding)


async def _gather(body: Body, name: str, limit: int) -> bytes:
    content = bytearray()
    async for chunk in body.chunks:
        content += chunk
        if len(content) > limit:
            raise UnreadableError(f"expected {name} of at most {limit} bytes")
    return bytes(content)


# ------------------------------------------------------------------ JSON


def strings_masker(masking: AnyMasking, places: Places) -> MaskHolder:
    if isinstance(masking, WholeMasking):
        return lambda holder: change_strings(holder, masking.mask_text, places.has)
    return lambda holder: mask_strings(holder, masking, places.has)


async def mask_json(body: Body, mask: MaskHolder, limit: int) -> Chunks:
    document = await _gather(body, "a document", limit)
    yield await mask_document(document, body.encoding, mask) if document.strip() else document


async def mask_lines(body: Body, mask: MaskHolder, limit: int) -> Chunks:
    async for line in lines(body.chunks, limit):
        if line.strip():
            masked = await mask_document(line, body.encoding, mask)
            yield masked if masked is line else masked + b"\n"
        else:
            yield line


async def mask_document(body: bytes, encoding: str, mask: MaskHolder) -> bytes:
    """Returns a JSON text with its strings masked; the same bytes if nothing is masked."""
    try:
        document, has_duplicates = read_json(body.decode(encoding))
        holder = [document]
        if not await mask(holder) and not has_duplicates:
            return body
        return write_json(holder[0]).encode(encoding)
    except (ValueError, RecursionError):
        raise UnreadableError("expected JSON") from None


# ------------------------------------------------------------------ text


async def mask_text(body: Body, masking: AnyMasking, limit: int) -> Chunks:
    """Masks a text body. Invalid UTF-8 stays as it is; invalid bytes in another encoding raise UnreadableError."""
    errors = "surrogateescape" if body.encoding in {"utf-8", "utf-8-sig", "ascii"} else "strict"
    encoder = codecs.getincrementalencoder(body.encoding)(errors)
    try:
        if isinstance(masking, WholeMasking):
            whole = (await _gather(body, "a text", limit)).decode(body.encoding, errors)
            yield encoder.encode(await masking.mask_text(whole))
            return
        async for part in mask_slices(text(body.chunks, body.encoding, errors), masking):
            yield encoder.encode(part)
    except UnicodeError:
        raise UnreadableError(f"expected text in {body.encoding}") from None


# ------------------------------------------------------------------ forms and queries


async def mask_form(body: Body, masking: AnyMasking, limit: int) -> Chunks:
    form = (await _gather(body, "a form", limit)).decode("utf-8", "surrogateescape")
    if isinstance(masking, WholeMasking):
        values = {value: await masking.mask_text(value) for value in {value for _, value in QueryParams(form).pairs()}}
        yield mask_pairs(form, values.__getitem__).encode("utf-8", "surrogateescape")
        return
    masked = await asyncio.to_thread(mask_pairs, form, masking.mask)  # in a thread, since a large form takes a while
    yield masked.encode("utf-8", "surrogateescape")


def mask_pairs(query: str, mask: Callable[[str], str]) -> str:
    """Returns a query or a form with its values masked; other parameters stay byte for byte."""
    params = QueryParams(query)
    values: dict[str, list[str]] = {}
    changed: set[str] = set()
    for name, value in params.pairs():
        values.setdefault(name, []).append(mask(value))
        if values[name][-1] != value:
            changed.add(name)
    return str(params.replaced({name: values[name] for name in values if name in changed})) if changed else query
