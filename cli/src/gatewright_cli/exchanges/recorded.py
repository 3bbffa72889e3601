"""A recorded exchange, as docs/reference/recordings.md has it, as far as it is shown."""

from __future__ import annotations

from typing import Any

import msgspec

VERSION = 1
ANSWERED, FAILED, CONTINUED = "answered", "failed", "continued"


class UnreadableError(Exception):
    """It is no recorded exchange, or of another version; the message says what was expected."""


class Struct(msgspec.Struct, frozen=True, rename="camel"):
    """What is not there is empty; what is not known is left aside."""


class Body(Struct, frozen=True):
    """What the engine held of it: as text, or in base64. decoded: the content encoding that was taken off."""

    size: int = 0
    decoded: str = ""
    text: str | None = None
    base64: str | None = None
    truncated: bool = False


class Message(Struct, frozen=True):
    """A request, or a response. at_ms: when it had come, or left, since the exchange began.

    end_ms: the same of its body, where that passed in pieces.
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
    """Why an execution failed. file, line: where the policy raised; "" and 0 where that is not known."""

    kind: str = msgspec.field(default="", name="class")
    message: str = ""
    file: str = ""
    line: int = 0


class Change(Struct, frozen=True):
    """`before` or `after` is UNSET where there was, or is, none."""

    what: str
    name: str = ""
    before: Any = msgspec.UNSET
    after: Any = msgspec.UNSET


class Streamed(Struct, frozen=True):
    """Bytes of a stream."""

    bytes_in: int = 0
    bytes_out: int = 0


class Execution(Struct, frozen=True):
    """A policy's turn. Times are in milliseconds; those of the beginning since that of the exchange."""

    policy: str
    phase: str = ""
    index: int = 0
    started_ms: float = 0.0
    duration_ms: float = 0.0
    work_ms: float | None = None
    chunks_ms: float | None = None
    """Of a stream: that it waited for chunks, and for who reads its own."""
    outcome: str = ""
    when: str = ""
    failure: Failure | None = None
    changes: list[Change] = []
    stream: Streamed | None = None
    shadow: bool = False
    comparison: str = ""
    """Of a shadow: same or different; "" where it has failed or was skipped."""
    compared_with: int | None = None
    """The index of the policy that it is compared with; None: with no change."""
    reason: str = ""


class Client(Struct, frozen=True):
    """Who asked."""

    address: str = ""


class Cause(Struct, frozen=True):
    """Why Envoy has answered by itself. party: whose fault it is, client, upstream or gateway."""

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
    """None: Envoy has not answered by itself."""
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
