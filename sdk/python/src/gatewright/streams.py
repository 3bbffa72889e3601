"""Bodies that come in pieces, cut wherever the network has cut them: lines, events, messages and patterns in them.

Each kind has a parser without I/O, which is fed with pieces and gives what is whole by then, and a function that does
the same with an asynchronous iterator:

    for event in SseParser().feed(ctx.body):
        body += event.with_data(mask(event.data)).encode() if event.data is not None else event.raw

The result never depends on where the pieces were cut. What is kept until more comes is bounded by `limit`: beyond it
StreamError is raised. Standard library only.
"""

from __future__ import annotations

import codecs
import json
import re
import struct
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, AnyStr, Generic, Protocol, TypeVar

__all__ = [
    "LIMIT",
    "GrpcMessage",
    "GrpcParser",
    "JsonLinesParser",
    "LineParser",
    "Parser",
    "Replacer",
    "SseEvent",
    "SseParser",
    "StreamError",
    "TextDecoder",
    "grpc_messages",
    "json_line",
    "json_lines",
    "lines",
    "parse",
    "replaced",
    "sse_events",
    "text",
]

LIMIT = 1 << 20
"""Default of `limit`, in bytes: what one line, event or message may have."""

In = TypeVar("In", contravariant=True)
Out = TypeVar("Out", covariant=True)


class StreamError(ValueError):
    """What came is not what the parser was to read, or one item of it is beyond the limit. The text says which."""


class Parser(Protocol[In, Out]):
    """Pieces in, whole items out."""

    def feed(self, piece: In, /) -> Iterator[Out]:
        """The items that are whole with this piece."""
        ...

    def end(self) -> Iterator[Out]:
        """The items that end with the stream; StreamError where one is not whole and cannot be taken as it is."""
        ...


async def parse(chunks: AsyncIterable[In], parser: Parser[In, Out]) -> AsyncIterator[Out]:
    """The parser's items of a stream, each as soon as it is whole."""
    async for chunk in chunks:
        for item in parser.feed(chunk):
            yield item
    for item in parser.end():
        yield item


# ------------------------------------------------------------------ text


class TextDecoder:
    """Bytes to text: characters whose bytes came in several pieces are put together.

    encoding: one of Python's, which the policy names; of one that a message names, what `charsets.detect` makes of it.
    errors: as for bytes.decode; "replace" makes U+FFFD of what is not valid, "strict" raises UnicodeDecodeError.
    """

    def __init__(self, encoding: str = "utf-8", errors: str = "replace") -> None:
        self._decoder = codecs.getincrementaldecoder(encoding)(errors)

    def feed(self, piece: bytes) -> Iterator[str]:
        if text := self._decoder.decode(piece):
            yield text

    def end(self) -> Iterator[str]:
        if text := self._decoder.decode(b"", final=True):
            yield text


def text(chunks: AsyncIterable[bytes], encoding: str = "utf-8", errors: str = "replace") -> AsyncIterator[str]:
    """The text of a stream of bytes; see TextDecoder."""
    return parse(chunks, TextDecoder(encoding, errors))


# ------------------------------------------------------------------ lines


class LineParser:
    """Lines with their ends: LF, or CR LF. The last one may have none."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._rest = bytearray()

    def feed(self, piece: bytes) -> Iterator[bytes]:
        first, *others = piece.split(b"\n")
        self._add(first)
        for other in others:
            self._rest += b"\n"
            yield self._take()
            self._add(other)

    def end(self) -> Iterator[bytes]:
        if self._rest:
            yield self._take()

    def _add(self, part: bytes) -> None:
        self._rest += part
        _check(len(self._rest), self._limit, "a line")

    def _take(self) -> bytes:
        line = bytes(self._rest)
        self._rest.clear()
        return line


def lines(chunks: AsyncIterable[bytes], limit: int = LIMIT) -> AsyncIterator[bytes]:
    """The lines of a stream, with their ends: LF or CR LF; the last one may have none."""
    return parse(chunks, LineParser(limit))


class JsonLinesParser:
    """JSON values, one a line (application/x-ndjson, application/jsonl). Empty lines are left out."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._lines = LineParser(limit)
        self._number = 0

    def feed(self, piece: bytes) -> Iterator[Any]:
        return self._values(self._lines.feed(piece))

    def end(self) -> Iterator[Any]:
        return self._values(self._lines.end())

    def _values(self, texts: Iterator[bytes]) -> Iterator[Any]:
        for line in texts:
            self._number += 1
            if line.strip():
                try:
                    yield json.loads(line)
                except (ValueError, RecursionError) as error:
                    raise StreamError(f"expected JSON in line {self._number}, got {_shown(line)}: {error}") from None


def json_lines(chunks: AsyncIterable[bytes], limit: int = LIMIT) -> AsyncIterator[Any]:
    """The JSON values of a stream that has one a line. A line that is none raises StreamError with its number."""
    return parse(chunks, JsonLinesParser(limit))


def json_line(value: Any) -> bytes:
    """A JSON value as a line of its own."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode() + b"\n"


# ------------------------------------------------------------------ server-sent events


@dataclass(frozen=True, slots=True)
class SseEvent:
    """One block of an event stream: what stands before a blank line (WHATWG HTML, 9.2.6)."""

    data: str | None = None
    """The data lines, joined by LF. None: it has none, so browsers dispatch no event for it (a comment, a retry)."""
    event: str = ""
    """The type. "" is what browsers call "message"."""
    id: str | None = None
    """Sets the last event id; None leaves it."""
    retry: int | None = None
    """Reconnection time in milliseconds."""
    comment: str | None = None
    """The comment lines, joined by LF; servers send them to keep the connection."""
    raw: bytes = b""
    """The block as it came, with its blank line and those before it; b"" for one that was made here."""
    is_whole: bool = True
    """False: the stream ended before the blank line, so browsers dispatch no event for it."""

    def with_data(self, data: str) -> SseEvent:
        """The same with other data."""
        return replace(self, data=data, raw=b"")

    def encode(self) -> bytes:
        """The block with its blank line. `data` and `comment` may have line ends; `event` and `id` none."""
        for name, value in (("event", self.event), ("id", self.id or "")):
            if {*value} & {"\n", "\r", "\0"}:
                raise ValueError(f"expected an SSE {name} of one line without NUL, got {value!r}")
        fields = [("", line) for line in _split(self.comment)]
        fields += [("event", self.event)] if self.event else []
        fields += [("data", line) for line in _split(self.data)]
        fields += [("id", self.id)] if self.id is not None else []
        fields += [("retry", str(self.retry))] if self.retry is not None else []
        return "".join(f"{name}: {value}\n" if value else f"{name}:\n" for name, value in fields).encode() + b"\n"


def _split(value: str | None) -> list[str]:
    return [] if value is None else re.split("\r\n|\n|\r", value)


_SSE_LINE_END = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"


class SseParser:
    """The blocks of an event stream, by the rules of WHATWG HTML, 9.2.6: lines end with LF, CR or CR LF."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._block = bytearray()  # blank lines before it, and its own so far
        self._line = 0  # where its last line begins
        self._has_lines = False  # that are not blank
        self._is_first = True

    def feed(self, piece: bytes) -> Iterator[SseEvent]:
        at = 0
        if self._block.endswith(b"\r"):  # it waited for a LF, which would belong to it
            at = 1 if piece.startswith(b"\n") else 0
            self._block += piece[:at]
            if piece:
                yield from self._end_line(1 + at)
        for end in _SSE_LINE_END.finditer(piece, at):
            self._add(piece[at : end.end()])
            at = end.end()
            if end[0] != b"\r" or at < len(piece):
                yield from self._end_line(len(end[0]))
        self._add(piece[at:])

    def end(self) -> Iterator[SseEvent]:
        if self._block.endswith(b"\r"):
            yield from self._end_line(1)
        if self._block:
            yield self._take(is_whole=False)

    def _add(self, part: bytes) -> None:
        self._block += part
        _check(len(self._block), self._limit, "an event")

    def _end_line(self, mark: int) -> Iterator[SseEvent]:
        """At the end of a line, whose mark has so many bytes."""
        is_blank = len(self._block) - self._line == mark
        self._line = len(self._block)
        if is_blank and self._has_lines:
            yield self._take(is_whole=True)
        elif not is_blank:
            self._has_lines = True

    def _take(self, *, is_whole: bool) -> SseEvent:
        raw = bytes(self._block)
        read = raw.removeprefix(_BOM) if self._is_first else raw
        self._block.clear()
        self._line, self._has_lines, self._is_first = 0, False, False
        return _event(read, raw, is_whole=is_whole)


def _event(read: bytes, raw: bytes, *, is_whole: bool) -> SseEvent:
    data: list[str] = []
    comment: list[str] = []
    event, last_id, retry = "", None, None
    for line in _split(read.decode("utf-8", "replace")):
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "" if line:
                comment.append(value)
            case "data":
                data.append(value)
            case "event":
                event = value
            case "id" if "\0" not in value:
                last_id = value
            case "retry" if value.isascii() and value.isdigit():
                retry = int(value)
    return SseEvent(
        "\n".join(data) if data else None, event, last_id, retry, "\n".join(comment) if comment else None, raw, is_whole
    )


def sse_events(chunks: AsyncIterable[bytes], limit: int = LIMIT) -> AsyncIterator[SseEvent]:
    """The blocks of an event stream (text/event-stream), comments included: their `raw` together is the stream."""
    return parse(chunks, SseParser(limit))


# ------------------------------------------------------------------ gRPC messages


@dataclass(frozen=True, slots=True)
class GrpcMessage:
    """A length-prefixed message (gRPC over HTTP/2, "Length-Prefixed-Message")."""

    data: bytes
    compressed: bool = False
    """Whether `data` is compressed by what the header `grpc-encoding` names."""

    def encode(self) -> bytes:
        """With its five bytes of prefix."""
        return struct.pack(">BI", self.compressed, len(self.data)) + self.data


class GrpcParser:
    """gRPC messages."""

    def __init__(self, limit: int = 4 << 20) -> None:
        self._limit = limit
        self._rest = bytearray()

    def feed(self, piece: bytes) -> Iterator[GrpcMessage]:
        self._rest += piece
        while len(self._rest) >= 5:
            flag, size = struct.unpack_from(">BI", self._rest)
            if flag > 1:
                raise StreamError(f"expected a gRPC message, its first byte 0 or 1, got {flag}")
            _check(size, self._limit, "a gRPC message")
            if len(self._rest) < 5 + size:
                return
            message = GrpcMessage(bytes(self._rest[5 : 5 + size]), bool(flag))
            del self._rest[: 5 + size]
            yield message

    def end(self) -> Iterator[GrpcMessage]:
        if self._rest:
            raise StreamError(f"expected whole gRPC messages, got {len(self._rest)} bytes of one at the end")
        return iter(())


def grpc_messages(chunks: AsyncIterable[bytes], limit: int = 4 << 20) -> AsyncIterator[GrpcMessage]:
    """The messages of a gRPC body. StreamError where the stream ends inside of one."""
    return parse(chunks, GrpcParser(limit))


# ------------------------------------------------------------------ patterns that span pieces


class Replacer(Generic[AnyStr]):
    """Replaces what a pattern matches, also where a match came in several pieces.

    It gives what `pattern.sub(replacement, whole)` would give of the whole, for matches of at most `longest` characters
    (bytes, for a pattern of bytes), and so keeps up to that many back until more comes.

    begins: matches, whole, whatever a match may begin with, complete ones included: `\\d[\\d -]*` for card numbers.
    Only what it matches up to the end is kept, so that pieces without a beginning pass at once. None: `longest`
    characters are always kept.

    pattern: not one that matches the empty string; `^`, `\\A`, `$` and `\\Z` stand for the edges of what is looked at,
    so do without them. `\\b` works, and so does what looks back `longest` characters or ahead one.
    replacement: as for re.sub; a function is given the match.
    """

    def __init__(
        self,
        pattern: re.Pattern[AnyStr],
        replacement: AnyStr | Callable[[re.Match[AnyStr]], AnyStr],
        *,
        longest: int,
        begins: re.Pattern[AnyStr] | None = None,
    ) -> None:
        if longest < 1:
            raise ValueError(f"expected longest of a character or more, got {longest}")
        self._empty: AnyStr = pattern.pattern[:0]
        if pattern.fullmatch(self._empty):
            raise ValueError(f"expected a pattern that matches a character or more, got {pattern.pattern!r}")
        self._pattern: re.Pattern[AnyStr] = pattern
        self._replacement: AnyStr | Callable[[re.Match[AnyStr]], AnyStr] = replacement
        self._longest = longest
        self._begins: re.Pattern[AnyStr] | None = begins
        self._seen: AnyStr = self._empty  # up to 2 * longest characters before: for what looks back
        self._kept: AnyStr = self._empty

    def feed(self, piece: AnyStr) -> Iterator[AnyStr]:
        return self._go_on(self._kept + piece, is_end=False)

    def end(self) -> Iterator[AnyStr]:
        return self._go_on(self._kept, is_end=True)

    def _go_on(self, new: AnyStr, *, is_end: bool) -> Iterator[AnyStr]:
        looked_at, position = self._seen + new, len(self._seen)
        final = len(looked_at) if is_end else self._final(looked_at, position)
        pieces = []
        for found in self._pattern.finditer(looked_at, position):
            if found.start() >= final:
                break
            pieces += [looked_at[position : found.start()], self._replaced(found)]
            position = found.end()
        until = max(position, final)
        pieces.append(looked_at[position:until])
        self._seen, self._kept = looked_at[max(0, until - 2 * self._longest) : until], looked_at[until:]
        if result := self._empty.join(pieces):
            yield result

    def _final(self, looked_at: AnyStr, position: int) -> int:
        """Where a match that begins earlier cannot change any more, whatever comes."""
        final = max(position, len(looked_at) - self._longest)
        if self._begins is None:
            return final
        candidates = range(final, len(looked_at))
        return next((at for at in candidates if self._begins.fullmatch(looked_at, at)), len(looked_at))

    def _replaced(self, found: re.Match[AnyStr]) -> AnyStr:
        return self._replacement(found) if callable(self._replacement) else found.expand(self._replacement)


def replaced(
    chunks: AsyncIterable[AnyStr],
    pattern: re.Pattern[AnyStr],
    replacement: AnyStr | Callable[[re.Match[AnyStr]], AnyStr],
    *,
    longest: int,
    begins: re.Pattern[AnyStr] | None = None,
) -> AsyncIterator[AnyStr]:
    """The stream with what a pattern matches replaced; see Replacer."""
    return parse(chunks, Replacer(pattern, replacement, longest=longest, begins=begins))


def _check(size: int, limit: int, what: str) -> None:
    if size > limit:
        raise StreamError(f"expected {what} of at most {limit} bytes, got more; a larger `limit` takes it")


def _shown(line: bytes) -> str:
    return repr(line[:60])[1:]
