"""Policies that read bodies × bodies that are no text, or not the text that they are said to be.

Each is read, passed or refused, in both directions: no policy fails (500), and what is there to hide hides.
"""

from __future__ import annotations

import contextlib
import gzip
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
import yaml

from e2e.kit.gateway import BUILD_SECONDS, Gateway, Json, api, attach, running
from e2e.kit.places import ROOT
from e2e.kit.upstream import Recorded, Reply, Upstream

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


ENVELOPE = b"""\
<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/"><soap:Body><Got/></soap:Body></soap:Envelope>"""


class Shape(NamedTuple):
    content_type: bytes
    body: bytes
    encoding: str = ""


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
    "a type that is none": Shape(b"\xff/json", JSON.encode()),
}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, recording_upstream: Upstream) -> Iterator[Gateway]:
    """A gateway with an API for each of these policies."""
    folder = tmp_path_factory.mktemp("bodies")
    manifest, output = folder / "build.yaml", ROOT / "build" / "bodies"
    listed = [{"name": name, "filePath": str(folder_of(name))} for name in POLICIES]
    manifest.write_text(yaml.safe_dump({"version": "v1", "policies": listed}))
    command = ["gatewright", "build", "--manifest", str(manifest), "--output", str(output)]
    subprocess.run(command, check=True, timeout=BUILD_SECONDS)
    with running(output, folder / "state") as started:
        for name, params in POLICIES.items():
            started.deploy(api(name, recording_upstream.url, [attach(name, params, timeout="10s")]))
        yield started


def folder_of(policy: str) -> Path:
    return next(folder for room in ("policies", "sample-policies") if (folder := ROOT / room / policy).exists())


def leaks(policy: str, direction: str, shape: Shape, body: bytes) -> bool:
    """Whether a reader finds the address in the body, in whatever it is written, where the policy is to hide it."""
    types = HIDE.get(policy, {}).get(direction, ())
    is_read = any(shape.content_type.decode("latin-1").startswith(media_type) for media_type in types)
    codecs = ("utf-8", "utf-16-le", "utf-16-be", "utf-32-le")
    return is_read and any(MAIL.encode(codec) in body for codec in codecs)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_request_is_read_passed_or_refused(gateway: Gateway, upstream: Upstream, policy: str) -> None:
    upstream.reply = lambda _: Reply(200, [("content-type", "text/xml")], ENVELOPE)
    wrong = {}
    with httpx.Client(base_url=f"{gateway.url}/{policy}", timeout=30) as client:
        for name, shape in SHAPES.items():
            upstream.received.clear()
            answer = client.post("/x", headers=headers_of(shape), content=shape.body)
            bodies = [request.body for request in upstream.received]
            has_leaked = any(leaks(policy, "request", shape, body) for body in bodies)
            if answer.status_code not in {200, 400, 413, 415} or b"" in bodies or has_leaked:
                wrong[name] = answer.status_code, answer.text, bodies
    assert wrong == {}


@pytest.mark.parametrize("policy", POLICIES)
def test_a_response_is_read_passed_or_refused(gateway: Gateway, upstream: Upstream, policy: str) -> None:
    wrong = {}
    with httpx.Client(base_url=f"{gateway.url}/{policy}", timeout=30) as client:
        for name, shape in SHAPES.items():
            upstream.reply = answer_of(shape)
            status, got = response_of(client)
            if status not in {200, 502} or got == b"" or leaks(policy, "response", shape, got):
                wrong[name] = status, got
    assert wrong == {}


def response_of(client: httpx.Client) -> tuple[int, bytes]:
    """The status, and as much of the body as comes: what is refused once a part of it has passed is cut off."""
    got = b""
    with client.stream("POST", "/x", json={}) as answer, contextlib.suppress(httpx.RemoteProtocolError):
        for chunk in answer.iter_raw():
            got += chunk
    return answer.status_code, got


def headers_of(shape: Shape) -> list[tuple[bytes, bytes]]:
    named = [(b"content-type", shape.content_type), (b"content-encoding", shape.encoding.encode())]
    return [(name, value) for name, value in named if value]


def answer_of(shape: Shape) -> Callable[[Recorded], Reply]:
    return lambda _: Reply(200, headers_of(shape), shape.body)
