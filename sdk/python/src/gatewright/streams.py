"""Lines, events, messages and patterns in bodies that come in pieces, cut wherever the network has cut them.

Each kind has a parser without I/O, which is fed with pieces and returns the items that are complete, and a function
that does the same for an asynchronous iterator:

    for event in SseParser().feed(ctx.body):
        body += event.with_data(mask(event.data)).encode() if event.data is not None else event.raw

The result never depends on where the pieces were cut. A parser keeps at most `limit` bytes of an incomplete item, and
raises StreamError beyond. Standard library only.
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
"""Default of `limit`: the most bytes of a line, event or message."""

In = TypeVar("In", contravariant=True)
Out = TypeVar("Out", covariant=True)


class StreamError(ValueError):
    """The input has another form than the parser reads, or an item is beyond the limit. The text says which."""


class Parser(Protocol[In, Out]):
    """Takes pieces and returns complete items."""

    def feed(self, piece: In, /) -> Iterator[Out]:
        """The items that this piece completes."""
        ...

    def end(self) -> Iterator[Out]:
        """The items that end with the stream. StreamError if the last item is incomplete and its kind does not allow
        that."""
        ...


async def parse(chunks: AsyncIterable[In], parser: Parser[In, Out]) -> AsyncIterator[Out]:
    """The parser's items of a stream, each as soon as it is complete."""
    async for chunk in chunks:
        for item in parser.feed(chunk):
            yield item
    for item in parser.end():
        yield item


# ------------------------------------------------------------------ text


class TextDecoder:
    """Decodes bytes to text, including characters whose bytes come in several pieces.

    encoding: a Python encoding that the policy names; for one that a message names, use `charsets.detect`.
    errors: as for bytes.decode: "replace" puts U+FFFD for invalid bytes, "strict" raises UnicodeDecodeError.
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
    """Lines with their ends: LF or CR LF. The last line may have none."""

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
    """The lines of a stream, with their ends: LF or CR LF; the last line may have none."""
    return parse(chunks, LineParser(limit))


class JsonLinesParser:
    """JSON values, one on each line (application/x-ndjson, application/jsonl). Empty lines are skipped."""

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
    """The JSON values of a stream that has one on each line. StreamError names the number of a line that is no JSON."""
    return parse(chunks, JsonLinesParser(limit))


def json_line(value: Any) -> bytes:
    """A JSON value as a line of its own."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode() + b"\n"


# ------------------------------------------------------------------ server-sent events


@dataclass(frozen=True, slots=True)
class SseEvent:
    """One block of an event stream, which ends with a blank line (WHATWG HTML, 9.2.6)."""

    data: str | None = None
    """The data lines, joined by LF. None: there are none, so browsers dispatch no event (a comment, a retry)."""
    event: str = ""
    """The type. "" is what browsers call "message"."""
    id: str | None = None
    """The new last event id; None leaves it unchanged."""
    retry: int | None = None
    """Reconnection time in milliseconds."""
    comment: str | None = None
    """The comment lines, joined by LF; servers send them to keep the connection open."""
    raw: bytes = b""
    """The block as it came, with its blank line and those before it; b"" for an event that the policy made."""
    is_whole: bool = True
    """False: the stream ended before the blank line, so browsers dispatch no event."""

    def with_data(self, data: str) -> SseEvent:
        """The event with other data."""
        return replace(self, data=data, raw=b"")

    def encode(self) -> bytes:
        """The block with its blank line. `data` and `comment` may contain line ends, `event` and `id` may not."""
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
_ONE_DATA_LINE = re.compile(rb"data: ([^\r\n]*)\n\n")
"""A piece that is one event of the most usual form, which is read in a quarter of the time."""
_BOM = b"\xef\xbb\xbf"


class SseParser:
    """The blocks of an event stream, by the rules of WHATWG HTML, 9.2.6: lines end with LF, CR or CR LF."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._block = bytearray()  # blank lines before the block, and its own lines so far
        self._line = 0  # the beginning of its last line
        self._has_lines = False  # whether it has a line that is not blank
        self._is_first = True

    def feed(self, piece: bytes) -> Iterator[SseEvent]:
        if not self._block and len(piece) <= self._limit and (whole := _ONE_DATA_LINE.fullmatch(piece)):
            self._is_first = False
            yield SseEvent(whole[1].decode("utf-8", "replace"), raw=bytes(piece))
            return
        at = 0
        if self._block.endswith(b"\r"):  # a LF that follows belongs to this line end
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
        """Ends a line whose line end has `mark` bytes."""
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
    """The blocks of an event stream (text/event-stream), comments included. Joined, their `raw` is the whole stream."""
    return parse(chunks, SseParser(limit))


# ------------------------------------------------------------------ gRPC messages


@dataclass(frozen=True, slots=True)
class GrpcMessage:
    """A length-prefixed message (gRPC over HTTP/2, "Length-Prefixed-Message")."""

    data: bytes
    compressed: bool = False
    """Whether `data` is compressed as the header `grpc-encoding` says."""

    def encode(self) -> bytes:
        """The message with its prefix of five bytes."""
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
    """The messages of a gRPC body. StreamError if the stream ends within a message."""
    return parse(chunks, GrpcParser(limit))


# ------------------------------------------------------------------ patterns that span pieces


class Replacer(Generic[AnyStr]):
    """Replaces the matches of a pattern, including matches that come in several pieces.

    The result is that of `pattern.sub(replacement, whole)` for the whole text, for matches of at most `longest`
    characters (bytes, for a pattern of bytes). It therefore holds back up to `longest` characters until more comes.

    begins: a pattern that fully matches every beginning of a match, and every match: `\\d[\\d -]*` for card numbers.
    Then only an end of the text that `begins` matches is held back, so that pieces without a beginning pass at once.
    None: `longest` characters are always held back.

    pattern: must not match the empty string. Do not use `^`, `\\A`, `$` and `\\Z`, which match at the edges of the
    text that is held. `\\b` works, and so do look-behinds of `longest` characters and look-aheads of one.
    replacement: as for re.sub; a function gets the match.
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
        self._seen: AnyStr = self._empty  # up to 2 * longest characters before, for look-behinds
        self._kept: AnyStr = self._empty

    def feed(self, piece: AnyStr) -> Iterator[AnyStr]:
        return self._go_on(self._kept + piece, is_end=False)

    def end(self) -> Iterator[AnyStr]:
        return self._go_on(self._kept, is_end=True)

    def _go_on(self, new: AnyStr, *, is_end: bool) -> Iterator[AnyStr]:
        text, position = self._seen + new, len(self._seen)
        final = len(text) if is_end else self._final(text, position)
        pieces = []
        for match in self._pattern.finditer(text, position):
            if match.start() >= final:
                break
            pieces += [text[position : match.start()], self._replace(match)]
            position = match.end()
        until = max(position, final)
        pieces.append(text[position:until])
        self._seen, self._kept = text[max(0, until - 2 * self._longest) : until], text[until:]
        if result := self._empty.join(pieces):
            yield result

    def _final(self, text: AnyStr, position: int) -> int:
        """The position before which no match can begin that later pieces would change."""
        final = max(position, len(text) - self._longest)
        if self._begins is None:
            return final
        candidates = range(final, len(text))
        return next((at for at in candidates if self._begins.fullmatch(text, at)), len(text))

    def _replace(self, match: re.Match[AnyStr]) -> AnyStr:
        return self._replacement(match) if callable(self._replacement) else match.expand(self._replacement)


def replaced(
    chunks: AsyncIterable[AnyStr],
    pattern: re.Pattern[AnyStr],
    replacement: AnyStr | Callable[[re.Match[AnyStr]], AnyStr],
    *,
    longest: int,
    begins: re.Pattern[AnyStr] | None = None,
) -> AsyncIterator[AnyStr]:
    """The stream with the matches of a pattern replaced; see Replacer."""
    return parse(chunks, Replacer(pattern, replacement, longest=longest, begins=begins))


def _check(size: int, limit: int, what: str) -> None:
    if size > limit:
        raise StreamError(f"expected {what} of at most {limit} bytes, got more; set a larger `limit` to accept it")


def _shown(line: bytes) -> str:
    return repr(line[:60])[1:]
