"""Charsets: how the text of a body is encoded, by its byte order mark, its content type or its XML declaration.

    def on_request(ctx: RequestContext, params: dict[str, Any]) -> RequestAction:
        try:
            charset = charsets.of_content_type(ctx.headers.get("content-type", ""))
            text = charsets.decode(ctx.body or b"", charset)
        except charsets.CharsetError as error:
            return ImmediateResponse(415, body=f"{error}\n")

Only the charsets of a short list, `CHARSETS`, are known. Look the names that messages bring up in this module, and
never by `codecs`, `bytes.decode`, `open` or an XML parser: Python caches each name that it looks up until the process
ends, so that clients could fill the memory, and it knows encodings that hide a text (utf-7, punycode) or are none
(idna, undefined). This module caches nothing, and its errors quote at most 40 characters of a name. Standard library
only.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from types import MappingProxyType

__all__ = [
    "CHARSETS",
    "XML_BEGINNING",
    "CharsetError",
    "decode",
    "detect",
    "detect_stream",
    "encoding",
    "needs_more",
    "of_content_type",
]

KNOWN = "utf-8, us-ascii, iso-8859-1 to -15, windows-1250 to -1258, or utf-16 with its byte order mark"
SHOWN = 40
_PARTS = [part for part in range(1, 16) if part != 12]  # no ISO 8859-12 was ever published

CHARSETS: Mapping[str, str] = MappingProxyType(
    {
        "utf-8": "utf-8",
        "utf8": "utf-8",
        "us-ascii": "ascii",
        "ascii": "ascii",
        "latin1": "iso8859-1",
        "latin-1": "iso8859-1",
        **{name: f"iso8859-{part}" for part in _PARTS for name in (f"iso-8859-{part}", f"iso8859-{part}")},
        **{name: f"cp{page}" for page in range(1250, 1259) for name in (f"windows-{page}", f"cp{page}")},
        "utf-16": "utf-16",
        "utf16": "utf-16",
    }
)
"""The Python encoding of each charset, by its name in lower case with "-" for "_". All of them but UTF-16 encode ASCII
as ASCII."""

XML_BEGINNING = 512
"""The most bytes that an XML declaration may have."""

_MARKS = {
    b"\xef\xbb\xbf": "utf-8-sig",
    b"\xff\xfe\0\0": "",
    b"\0\0\xfe\xff": "",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
"""Byte order marks. UTF-32, which is not read, comes first, since one of its marks begins with UTF-16's."""
_EBCDIC_XML = b"\x4c\x6f\xa7\x94"
_DECLARATION = re.compile(r"<\?xml(?=[ \t\r\n])([^>]*?)\?>")
_DECLARED = re.compile(r"[ \t\r\n]encoding[ \t\r\n]*=[ \t\r\n]*(?:\"([^\"]*)\"|'([^']*)')")
_PARAMETER = re.compile(r";[ \t]*([^\s;=\"]+)[ \t]*=[ \t]*(?:\"((?:[^\"\\]|\\.)*)\"|([^;]*))")
_ESCAPED = re.compile(r"\\(.)")


class CharsetError(ValueError):
    """A charset is not on the list, or a body is no text of its charset. The message quotes nothing of the body."""


def encoding(name: str) -> str:
    """The Python encoding of a charset, named in any case: `windows-1252` is `cp1252`.

    CharsetError: the name is not on the list.
    """
    codec = CHARSETS.get(name.strip(" \t'").lower().replace("_", "-"))
    if codec is None:
        raise CharsetError(f"expected the charset {KNOWN}, got {_shown(name)}")
    return codec


def of_content_type(content_type: str) -> str:
    """The charset that a content type names, as it is written there; "" if it names none. It need not be on the list.

    CharsetError: the content type names several, and another reader might choose another one.
    """
    names = {
        _ESCAPED.sub(r"\1", quoted) if quoted else plain.strip(" \t")
        for name, quoted, plain in _PARAMETER.findall(content_type)
        if name.lower() == "charset"
    }
    if len({name.lower() for name in names}) > 1:
        raise CharsetError("expected one charset in the content type, got several")
    return next(iter(names), "")


def detect(beginning: bytes, charset: str = "", *, xml: bool = False) -> str:
    """The Python encoding of a body: by its byte order mark, else by its charset, else UTF-8.

    beginning: the body, or as much of it as makes `needs_more` false. charset: that of the content type; "" is none.
    xml: the encoding that the document declares counts if there is no charset (RFC 7303, 3.2), and must be on the list
    in any case.

    A UTF-8 text with a mark is `utf-8-sig`. CharsetError: a name is not on the list; the body is in UTF-32, in UTF-16
    without a mark, or, for XML, in EBCDIC; an XML declaration has more than XML_BEGINNING bytes.
    """
    named = encoding(charset) if charset else ""
    marked = next((codec for mark, codec in _MARKS.items() if beginning.startswith(mark)), None)
    if marked == "" or (marked is None and (named == "utf-16" or b"\0" in beginning[:2])):
        raise CharsetError(f"expected text in {KNOWN}, got UTF-16 without its mark, or UTF-32")
    declared = _declared(beginning, marked or named or "utf-8") if xml else ""
    if declared == "utf-16" and not (marked or named):
        raise CharsetError(f"expected text in {KNOWN}, got XML that declares UTF-16, without its mark")
    return marked or named or declared or "utf-8"


def decode(body: bytes, charset: str = "", *, xml: bool = False) -> str:
    """A whole body as text, without its byte order mark. charset, xml: as for `detect`. CharsetError: as for `detect`,
    and for bytes that are no text in the body's encoding."""
    codec = detect(body, charset, xml=xml)
    try:
        return body.decode(codec)
    except UnicodeDecodeError as error:
        expected = codec.removesuffix("-sig").upper()
        raise CharsetError(f"expected {expected}, got something else at byte {error.start}") from None


def needs_more(beginning: bytes, *, xml: bool = False) -> bool:
    """Whether `detect` might return another encoding once more of the body has come."""
    if len(beginning) < 2 or any(mark.startswith(beginning) and mark != beginning for mark in _MARKS):
        return True
    return xml and b">" not in beginning[:-1] and len(beginning) < XML_BEGINNING  # in UTF-16 it has two bytes


async def detect_stream(
    chunks: AsyncIterable[bytes], charset: str = "", *, xml: bool = False
) -> tuple[str, AsyncIterator[bytes]]:
    """The encoding of a body that comes in chunks, as `detect` finds it, and all the chunks of the body.

        encoding, chunks = await charsets.detect_stream(chunks, charset)
        async for part in streams.text(chunks, encoding):

    It reads two bytes, four if they may be a mark, or the XML declaration. An empty body is UTF-8, whatever its
    charset. CharsetError: as for `detect`.
    """
    beginning, iterator = b"", aiter(chunks)
    while needs_more(beginning, xml=xml) and (chunk := await anext(iterator, None)) is not None:
        beginning += chunk
    return detect(beginning, charset, xml=xml) if beginning else "utf-8", _prepend(beginning, iterator)


async def _prepend(beginning: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if beginning:
        yield beginning
    while (chunk := await anext(rest, None)) is not None:
        yield chunk


def _declared(beginning: bytes, found: str) -> str:
    """The encoding that an XML declaration names, "" if there is none."""
    if beginning.startswith(_EBCDIC_XML):
        raise CharsetError(f"expected text in {KNOWN}, got EBCDIC")
    text = beginning[:XML_BEGINNING].decode(found, "replace")
    declaration = _DECLARATION.match(text)
    if declaration is None:
        if text.startswith("<?xml") and text[5:6] in " \t\r\n":
            raise CharsetError(f"expected an XML declaration of at most {XML_BEGINNING} bytes, got another one")
        return ""
    names = [encoding(double or single) for double, single in _DECLARED.findall(declaration[1])]
    return names[0] if names else ""


def _shown(name: str) -> str:
    return ascii(name) if len(name) <= SHOWN else f"{name[:SHOWN]!a}…"
