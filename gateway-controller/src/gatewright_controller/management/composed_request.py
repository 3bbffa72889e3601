"""A request that a user composed, as JSON: its fields, and the request that is sent."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import Annotated

import msgspec
from gatewright_documents.mistake import Invalid, Mistake, shown
from gatewright_documents.strict import described, mistakes_of
from gatewright_documents.values import JsonObject
from msgspec import Meta

from gatewright_controller.gateway.gateway_listeners import ReachableListener
from gatewright_controller.management.request_sending import ComposedRequest
from gatewright_controller.model import Strict

MAX_BODY_BYTES = 1024 * 1024
LONGEST_SECONDS = 120
DEFAULT_SECONDS = 30
TOKEN = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}$"  # noqa: S105 - what HTTP calls a token
VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
HOP_BY_HOP = {
    "connection", "expect", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te",
    "trailer", "transfer-encoding", "upgrade",
}  # fmt: skip
"""Of a connection (RFC 9110, 7.6.1), which is the controller's business; `expect` waits for an answer in between."""

Pair = Annotated[
    list[str],
    described("a list of a name and a value, such as ['accept', '*/*']", ""),
    Meta(min_length=2, max_length=2),
]


class SentBody(Strict, frozen=True):
    """One of the two, or none."""

    text: str | None = None
    base64: str | None = None

    def encoded(self) -> bytes:
        """Raises `ValueError` where it is no base64."""
        if self.base64 is not None:
            return base64.b64decode(self.base64, validate=True)
        return (self.text or "").encode("utf-8", "surrogatepass")


class WantedRequest(Strict, frozen=True):
    """The body of POST /v1/requests."""

    path: Annotated[
        str,
        described("a path such as '/orders/7?full=1', of printable ASCII characters", "", "^/[!-~]*$"),
        Meta(max_length=32768),
    ]
    method: Annotated[str, described("a method such as 'GET'", "", TOKEN)] = "GET"
    headers: Annotated[tuple[Pair, ...], Meta(max_length=256)] = ()
    body: SentBody = SentBody()
    listener: Annotated[str, Meta(max_length=63)] = ""
    host: Annotated[
        str,
        described("a host such as 'shop.example' or '127.0.0.1:8080'", "", r"^[A-Za-z0-9._:\[\]-]*$"),
        Meta(max_length=253),
    ] = ""
    record: bool = True
    seconds: Annotated[int, described(f"seconds from 1 to {LONGEST_SECONDS}", ""), Meta(ge=1, le=LONGEST_SECONDS)] = (
        DEFAULT_SECONDS
    )


def wanted_request(document: JsonObject) -> WantedRequest:
    """Raises `Invalid` with every mistake."""
    mistakes = list(mistakes_of(WantedRequest, document))
    wrong = {re.split(r"[.\[]", mistake.field)[0] for mistake in mistakes}
    right = {name: value for name, value in document.items() if name not in wrong}
    wanted = msgspec.convert({"path": "/", **right}, WantedRequest)
    mistakes += _mistakes(wanted)
    if mistakes:
        raise Invalid(mistakes)
    return wanted


def composed(wanted: WantedRequest, listener: ReachableListener) -> ComposedRequest:
    """What is sent: for the host that is said, else the listener's own, else its address."""
    host_header = next((value for name, value in wanted.headers if name.lower() == "host"), wanted.host)
    headers = [(name, value) for name, value in wanted.headers if name.lower() != "host"]
    host = host_header or listener.host or listener.at
    return ComposedRequest(wanted.method, wanted.path, host, headers, wanted.body.encoded())


def _mistakes(wanted: WantedRequest) -> Iterator[Mistake]:
    if wanted.method.upper() in ("CONNECT", "TRACE"):
        yield Mistake.expecting("a method that the gateway takes", shown(wanted.method), field="method")
    hosts = [value for name, value in wanted.headers if name.lower() == "host"]
    if len(hosts) + bool(wanted.host) > 1:
        yield Mistake.expecting("one host", "several", "leave one out", field="headers")
    for index, (name, value) in enumerate(wanted.headers):
        yield from _header_mistakes(name, value, f"headers[{index}]")
    yield from _body_mistakes(wanted.body)


def _header_mistakes(name: str, value: str, field: str) -> Iterator[Mistake]:
    if not re.fullmatch(TOKEN, name):
        yield Mistake.expecting("a header's name, such as 'x-user'", shown(name), field=field)
    elif name.lower() in HOP_BY_HOP:
        cure = "leave it out: it belongs to the connection, which is the controller's"
        yield Mistake.expecting("no header of the connection", shown(name), cure, field=field)
    elif name.lower() == "content-length":
        yield Mistake.expecting("no content-length", shown(value), "leave it out: the body's is sent", field=field)
    if not VALUE.fullmatch(value) or value != value.strip(" \t"):
        expected = "a value of printable ISO 8859-1 characters, without spaces around it"
        yield Mistake.expecting(expected, shown(value), field=field)


def _body_mistakes(body: SentBody) -> Iterator[Mistake]:
    if body.text is not None and body.base64 is not None:
        yield Mistake.expecting("text or base64", "both", "leave one out", field="body")
        return
    try:
        size = len(body.encoded())
    except ValueError:
        yield Mistake.expecting("base64 (RFC 4648, 4)", shown(body.base64), field="body.base64")
        return
    if size > MAX_BODY_BYTES:
        yield Mistake.expecting(f"a body of at most {MAX_BODY_BYTES} bytes", str(size), field="body")
