"""A recorded exchange (docs/reference/recordings.md), as far as commands show it."""

from __future__ import annotations

from typing import Any

import msgspec

VERSION = 1
ANSWERED, FAILED, CONTINUED = "answered", "failed", "continued"


class UnreadableError(Exception):
    """The content is no recorded exchange, or one of another version; the message says what was expected."""


class Struct(msgspec.Struct, frozen=True, rename="camel"):
    """Missing members are empty; unknown members are ignored."""


class Body(Struct, frozen=True):
    """What the engine held of a body: as text, or in base64. decoded: the content encoding that was removed."""

    size: int = 0
    decoded: str = ""
    text: str | None = None
    base64: str | None = None
    truncated: bool = False


class Message(Struct, frozen=True):
    """A request, or a response. at_ms: when it had arrived, or left, since the exchange began.

    end_ms: the same for its body, if the body passed in pieces.
    """

    at_ms: float = 0.0
    end_ms: float = 0.0
    method: str = ""
    path: str = ""
    query: str = ""
    authority: str = ""
    status: int = 0
    headers: list[tuple[str, str]] = []
    trailers: list[tuple[str, str]] = []
    body: Body | None = None


class Failure(Struct, frozen=True):
    """Why an execution failed. file, line: where the policy raised; "" and 0 if unknown."""

    kind: str = msgspec.field(default="", name="class")
    message: str = ""
    file: str = ""
    line: int = 0


class Change(Struct, frozen=True):
    """A change by a policy. `before` or `after` is UNSET if there was, or is, no value."""

    what: str
    name: str = ""
    before: Any = msgspec.UNSET
    after: Any = msgspec.UNSET


class Streamed(Struct, frozen=True):
    """Bytes that a stream's policy read and wrote."""

    bytes_in: int = 0
    bytes_out: int = 0


class Execution(Struct, frozen=True):
    """One execution of a policy. Times are in milliseconds; started_ms counts from the start of the exchange."""

    policy: str
    phase: str = ""
    index: int = 0
    started_ms: float = 0.0
    duration_ms: float = 0.0
    work_ms: float | None = None
    chunks_ms: float | None = None
    """Of a stream: how long it waited for chunks, and for its own to be read."""
    outcome: str = ""
    when: str = ""
    failure: Failure | None = None
    changes: list[Change] = []
    stream: Streamed | None = None
    shadow: bool = False
    comparison: str = ""
    """Of a shadow: same or different; "" if it failed or was skipped."""
    compared_with: int | None = None
    """The index of the policy that a shadow is compared with; None: it is compared with no change."""
    reason: str = ""


class Client(Struct, frozen=True):
    """The client of a request."""

    address: str = ""


class Cause(Struct, frozen=True):
    """Why Envoy answered by itself. party: who is responsible: client, upstream or gateway."""

    party: str = ""
    code: str = ""
    reason: str = ""
    cure: str = ""
    flags: str = ""


class Exchange(Struct, frozen=True):
    """One request with its response, and what each policy did."""

    version: int
    id: str
    node: str = ""
    started_at: str = ""
    duration_ms: float = 0.0
    api: str = ""
    api_version: str = ""
    context: str = ""
    operation: str = ""
    chain: str = ""
    policies: list[str] = []
    trace_id: str = ""
    client: Client = Client()
    request: Message = Message()
    forwarded: Message | None = None
    upstream_response: Message | None = None
    response: Message | None = None
    answered_by: str = ""
    details: str = ""
    cause: Cause | None = None
    """None if Envoy did not answer by itself."""
    outcome: str = ""
    error: str = ""
    executions: list[Execution] = []
    redacted: int = 0

    @property
    def target(self) -> str:
        """The request's path with its query."""
        return self.request.path + (f"?{self.request.query}" if self.request.query else "")


def read(recorded: bytes) -> Exchange:
    """Raises `UnreadableError`."""
    try:
        exchange = msgspec.json.decode(recorded, type=Exchange)
    except msgspec.MsgspecError as error:
        raise UnreadableError(f"expected a recorded exchange as JSON: {error}") from error
    if exchange.version != VERSION:
        cure = "use the gatewright of the node that recorded it"
        raise UnreadableError(f"expected a recording of version {VERSION}, got {exchange.version}; {cure}")
    return exchange
