"""What the functions of a policy return, and raise. Policies import it from `gatewright.policy`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from gatewright.headers import HeaderValue
from gatewright.made_at import MadeAt
from gatewright.params import JsonValue


@dataclass(frozen=True, slots=True)
class Attempt:
    """One of the upstreams that a request is sent to, one after the other, until one answers."""

    upstream: str
    """The name of one of the API's upstreams."""
    set_headers: Mapping[str, HeaderValue] = field(default_factory=dict)
    """As in UpstreamRequestModifications, for this upstream alone: its credentials."""
    path: str | None = None
    """The path behind the base path of the upstream's URL, without the query. None: the request's own."""
    body: bytes | str | None = None
    """The body for this upstream alone, as UTF-8. None: the request's own."""


@dataclass(slots=True)
class UpstreamRequestModifications(MadeAt):
    """Changes to the request before it goes on. Headers are applied in the order remove, set, append.

    The gateway refuses control characters other than tabs, pseudo-headers, hop-by-hop headers, and changes after which
    the message has more than 200 header lines or 128 KiB of headers.
    None leaves a part unchanged; a body of b"" is an empty body. With a new body the gateway sets content-length, and
    removes content-encoding unless the same action sets it.
    """

    set_headers: Mapping[str, HeaderValue] = field(default_factory=dict)
    """Each entry replaces all lines of its name, in any case. A list of values makes several lines."""
    remove_headers: Sequence[str] = field(default_factory=list)
    """All lines of these names, in any case, are removed."""
    append_headers: Mapping[str, HeaderValue] = field(default_factory=dict)
    """Lines to add to the present ones."""
    body: bytes | str | None = None
    """Replaces the body; `str` is encoded as UTF-8."""
    path: str | None = None
    """Without the query; it must stay under the API's context."""
    query: str | None = None
    """Without "?"; "" removes the query."""
    method: str | None = None
    authority: str | None = None
    """The host that the upstream sees, with a port if it needs one."""
    upstream: str | None = None
    """The name of the API's upstream that the request goes to: "canary". Any other name is refused; the last policy
    that sets it or `attempts` decides."""
    attempts: Sequence[Attempt] = field(default_factory=list)
    """In place of `upstream`, in an operation with `failover`: each upstream is asked once, in this order, until one
    answers with less than 500 and none of 408, 425 and 429, and an event stream begins with another event than an
    error. At most 8, with 16 MiB of bodies of their own."""
    analytics_metadata: Mapping[str, JsonValue] = field(default_factory=dict)
    """Values for the access log, in its field `analytics`."""


@dataclass(slots=True)
class UpstreamResponseModifications(MadeAt):
    """Changes to the response before it goes back. Headers as in UpstreamRequestModifications."""

    set_headers: Mapping[str, HeaderValue] = field(default_factory=dict)
    """Each entry replaces all lines of its name, in any case. A list of values makes several lines."""
    remove_headers: Sequence[str] = field(default_factory=list)
    """All lines of these names, in any case, are removed."""
    append_headers: Mapping[str, HeaderValue] = field(default_factory=dict)
    """Lines to add to the present ones."""
    body: bytes | str | None = None
    """Replaces the body; `str` is encoded as UTF-8."""
    status_code: int | None = None
    """200 to 599."""
    analytics_metadata: Mapping[str, JsonValue] = field(default_factory=dict)
    """Values for the access log, in its field `analytics`."""


@dataclass(slots=True)
class ImmediateResponse(MadeAt):
    """Answers the client. From on_request, the upstream gets no request; from on_response, it replaces the response."""

    status_code: int
    """200 to 599."""
    headers: Mapping[str, HeaderValue] = field(default_factory=dict)
    body: bytes | str = b""
    analytics_metadata: Mapping[str, JsonValue] = field(default_factory=dict)
    """Values for the access log, in its field `analytics`."""


class Reject(Exception):  # noqa: N818 - named for what it does
    """Raised in on_request_stream or on_response_stream: answers the client like a returned ImmediateResponse.

    Once the response's headers have been sent, no other answer is possible, and the stream is reset.
    """

    def __init__(self, response: ImmediateResponse) -> None:
        super().__init__(response)
        self.response = response


RequestAction: TypeAlias = UpstreamRequestModifications | ImmediateResponse | None
ResponseAction: TypeAlias = UpstreamResponseModifications | ImmediateResponse | None


class FailureClass(StrEnum):
    """Why an execution failed: the keys of `onError`, and a metric label."""

    TIMEOUT = "timeout"
    """The attachment's timeout has passed."""
    OVERLOADED = "overloaded"
    """A queue was full; the execution never started."""
    UNAVAILABLE = "unavailable"
    """No executor process accepts the execution, or a service that the policy needs does not answer (`sdk.store`)."""
    CRASHED = "crashed"
    """The executor process got the execution and ended without an answer; the execution is never retried."""
    EXCEPTION = "exception"
    """The policy's function raised an exception."""
    BAD_ACTION = "badAction"
    """The function returned no action, or an invalid one."""
    BODY_TOO_LARGE = "bodyTooLarge"
    """A body that the policy wants is larger than the attachment's `maxBodyBytes`."""
    BAD_BODY = "badBody"
    """A body that the policy wants cannot be decoded, or has a content encoding where the definition refuses one."""
