"""Policies that read bodies, and bodies that are no text or not in the declared charset.

These are the columns and rows of docs/reference/bodies.md:

pytest e2e/policies/test_text_of_bodies.py --update        writes the outcomes
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Mapping
from typing import NamedTuple

from e2e.kit.gateway import Json
from e2e.kit.places import ROOT

PAGE = ROOT / "docs" / "reference" / "bodies.md"
MAIL = "ada@example.org"
SCHEMA: Json = {"propertyNames": {"pattern": "^.*$"}, "additionalProperties": {"maxLength": 99}}
POLICIES: dict[str, Json] = {
    "count-tokens": {},
    "mask-pii-stream": {},
    "pii-mask": {},
    "redact-json-field": {"fields": ["mail"]},
    "rewrite-json": {},
    "soap-bridge": {"operation": "Get", "namespace": "urn:get"},
    "transform-json": {"request": "@", "response": "@"},
    "validate-request": {"schema": SCHEMA, "contentTypes": ["*/*"]},
    "validate-response": {"schema": SCHEMA, "contentTypes": ["*/*"]},
    "validate-upload": {"schema": SCHEMA},
    "xml-json": {"request": "xml-to-json", "response": "json-to-xml"},
}
HIDE: dict[str, dict[str, tuple[str, ...]]] = {
    "mask-pii-stream": {"response": ("application/json", "text/")},
    "pii-mask": {"request": ("",), "response": ("",)},
    "redact-json-field": {"response": ("application/json", "application/x-ndjson")},
}
"""In which direction a policy hides an address, and in which types; other types pass."""


class Shape(NamedTuple):
    content_type: bytes
    body: bytes
    encoding: str = ""
    content_range: str = ""


JSON = f'{{"mail": "{MAIL}"}}'
XML = f"<a><mail>{MAIL}</mail></a>"
TEXTS = {b"application/json": JSON, b"application/xml": XML, b"text/plain": f'"mail": {MAIL}'}
CHARSETS = {
    **{name.decode(): name for name in (b"idna", b"punycode", b"undefined", b"utf-7", b"utf-16-le", b"base64")},
    "long": b"x" * 5_000,
    "no UTF-8": b"\xff",
    "two": b"utf-8; charset=utf-7",
}
SHAPES = {
    **{
        f"{media_type.decode()}, charset {name}": Shape(media_type + b"; charset=" + charset, text.encode())
        for media_type, text in TEXTS.items()
        for name, charset in CHARSETS.items()
    },
    **{
        f"{media_type.decode()} in {codec}": Shape(media_type, text.encode(codec))
        for media_type, text in TEXTS.items()
        for codec in ("utf-16", "utf-16-le", "utf-16-be", "utf-8-sig", "utf-32")
    },
    "XML that declares klingon": Shape(b"text/xml", f"<?xml version='1.0' encoding='klingon'?>{XML}".encode()),
    "XML that declares utf-7": Shape(b"text/xml", f"<?xml version='1.0' encoding='utf-7'?>{XML}".encode()),
    "bytes that are no UTF-8": Shape(b"application/json", b'{"mail": "ada@example.org", "a": "\xff"}'),
    "half a pair": Shape(b"application/json", rb'{"mail": "ada@example.org", "a": "\ud83d"}'),
    "half a pair in a name": Shape(b"application/json", rb'{"mail": "ada@example.org", "\ud83d": 1}'),
    "half a pair in lines": Shape(b"application/x-ndjson", rb'{"mail": "ada@example.org", "\ud83d": "\ud83d"}' + b"\n"),
    "half a pair in events": Shape(b"text/event-stream", rb'data: {"mail": "ada@example.org", "\ud83d": 1}' + b"\n\n"),
    "lines that are no JSON": Shape(b"application/x-ndjson", b'{"a": 1}\n{"mail": "ada@example.org"\n'),
    "a name twice": Shape(b"application/json", b'{"mail": "ada@example.org", "mail": 1}'),
    "depth": Shape(b"application/json", b'{"a":' * 5_000 + b"1" + b"}" * 5_000),
    "a form": Shape(b"application/x-www-form-urlencoded", b"mail=ada%40example.org&a=%ff&%ff=1"),
    "gzip": Shape(b"application/json", gzip.compress(JSON.encode()), "gzip"),
    "gzip that is none": Shape(b"application/json", JSON.encode(), "gzip"),
    "an unknown encoding": Shape(b"application/json", JSON.encode(), "klingon"),
    "no content type": Shape(b"", JSON.encode()),
    "another type": Shape(b"application/octet-stream", JSON.encode()),
    "several parts": Shape(b"multipart/form-data; boundary=b", f"--b\r\n\r\n{MAIL}\r\n--b--\r\n".encode()),
    "a part, by content-range": Shape(b"application/json", JSON.encode()[3:], content_range="bytes 3-26/27"),
    "several parts of a document": Shape(
        b"multipart/byteranges; boundary=b",
        f"--b\r\ncontent-range: bytes 1-26/27\r\n\r\n{JSON[1:]}\r\n--b--\r\n".encode(),
        content_range="bytes 1-26/27",
    ),
    "a type that is none": Shape(b"\xff/json", JSON.encode()),
}


def replace_tables(page: str, outcomes: Mapping[str, Mapping[str, Mapping[str, str]]]) -> str:
    """The page with what came of each shape: by direction, policy and shape."""
    for direction, by_policy in outcomes.items():
        section = re.compile(rf"(^## {direction.capitalize()}s\n[^|]*)(\|[^\n]*\n)+", re.MULTILINE)
        new_table = table(by_policy)
        page, replacements = section.subn(lambda match, made=new_table: match[1] + made, page)  # type: ignore[misc]
        assert replacements == 1, f"expected one section of {direction}s with a table, got {replacements}"
    return page


def table(by_policy: Mapping[str, Mapping[str, str]]) -> str:
    """A table with a line for each shape and a field for each policy."""
    head = ["", *(f"`{policy}`" for policy in by_policy)]
    lines = [[shape, *(outcomes[shape] for outcomes in by_policy.values())] for shape in SHAPES]
    return "".join(f"| {' | '.join(line)} |\n" for line in [head, ["---"] * len(head), *lines])
