"""What becomes of an operation's requests: where they go, in what form, how often, or what is answered instead."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from gatewright_documents.strict import expecting
from msgspec import UNSET, Meta, UnsetType

from gatewright_controller.model.common import ResourceName, Strict, Timeout, milliseconds

SPLIT_FORM = {"x-cure": "its form is [{upstream: main, weight: 9}, {upstream: canary, weight: 1}]"}
MIRROR_FORM = {"x-cure": "its form is [{upstream: shadow, percent: 10}]"}
RetryName = Literal[
    "connectFailure",
    "refusedStream",
    "reset",
    "gatewayError",
    "serverError",
    "grpcCancelled",
    "grpcDeadlineExceeded",
    "grpcInternal",
    "grpcResourceExhausted",
    "grpcUnavailable",
]
RetryStatus = Annotated[int, Meta(ge=400, le=599)]
RetryCondition = Annotated[
    RetryName | RetryStatus,
    Meta(
        extra_json_schema=expecting(
            "connectFailure, refusedStream, reset, gatewayError, serverError, grpcCancelled, grpcDeadlineExceeded, "
            "grpcInternal, grpcResourceExhausted, grpcUnavailable or a status from 400 to 599"
        )
    ),
]
RetryMethod = Annotated[
    str,
    Meta(pattern=r"^[A-Z]{1,20}$", extra_json_schema=expecting("a method in capitals, such as 'POST'")),
]
HostName = Annotated[
    str,
    Meta(
        pattern=r"^([A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])$",
        extra_json_schema=expecting("a host name or an address without a port, such as 'www.example'"),
    ),
]
Authority = Annotated[
    str,
    Meta(
        pattern=r"^([A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])(:[1-9][0-9]{0,4})?$",
        extra_json_schema=expecting("a host with or without a port, such as 'orders.internal:8080'"),
    ),
]
Percent = Annotated[
    float, Meta(gt=0, le=100, extra_json_schema=expecting("a number above 0 and up to 100, such as 0.5"))
]
AnswerStatus = Annotated[int, Meta(ge=200, le=599, extra_json_schema=expecting("a status from 200 to 599"))]
HeaderValue = Annotated[
    str,
    Meta(
        max_length=8192,
        pattern=r"^[!-~]([\t -~]*[!-~])?$|^$",
        extra_json_schema=expecting("printable ASCII without spaces at its ends"),
    ),
]
AnswerBody = Annotated[str, Meta(max_length=16_384, extra_json_schema=expecting("text of at most 16384 characters"))]

IDEMPOTENT = ("GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE")
"""RFC 9110, 9.2.2: what a request does once, it does as well twice."""


class Mirror(Strict, frozen=True):
    """A pool that is sent a copy of requests; its answers are dropped."""

    upstream: ResourceName
    percent: Percent = 100.0
    """The part of requests that are copied; a ten-thousandth of a percent counts."""


class BackOff(Strict, frozen=True):
    """Times before a request is sent again: random, up to `base` the first time, twice that the next, and so on."""

    base: Timeout = "25ms"
    max: Timeout | UnsetType = UNSET
    """The longest of these times; unset: ten times `base`."""


class Retries(Strict, frozen=True):
    """When a request is sent once more. Never once anything of an answer has gone to the client."""

    conditions: Annotated[list[RetryCondition], Meta(min_length=1, max_length=50)] = msgspec.field(
        default_factory=lambda: ["connectFailure", "refusedStream", "reset", "gatewayError"]
    )
    """`connectFailure`: no connection could be opened. `refusedStream`: the upstream has not looked at the request
    (HTTP/2). `reset`: the connection or the stream ended before an answer began, or that took too long.
    `gatewayError`: 502, 503 or 504, and `reset`. `serverError`: 500 and above, and `reset`. A number: that status.
    `grpc…`: that status of a gRPC call, where it comes with the headers."""
    attempts: Annotated[int, Meta(ge=2, le=10)] = 2
    """How often a request is sent at most, the first time included; a target that has failed is passed over as long as
    the pool has others."""
    per_try_timeout: Timeout | UnsetType = UNSET
    """Time an upstream has, each time it is asked, from the end of the request until its answer begins; unset:
    `requestTimeout`."""
    back_off: BackOff = BackOff()
    methods: Annotated[list[RetryMethod], Meta(min_length=1, max_length=20)] | UnsetType = UNSET
    """Requests by these alone are sent again, as policies have left the method; unset: GET, HEAD, OPTIONS, PUT, DELETE
    and TRACE, which are idempotent."""


def retried_methods(retries: Retries) -> tuple[str, ...]:
    """Those of requests that may be sent again."""
    return IDEMPOTENT if retries.methods is UNSET else tuple(retries.methods)


def back_off_ms(retries: Retries) -> tuple[int, int]:
    """The base and the longest time."""
    base = milliseconds(retries.back_off.base)
    return base, 10 * base if retries.back_off.max is UNSET else milliseconds(retries.back_off.max)


def waits_ms(retries: Retries) -> int:
    """The longest that a request may wait, in all, before it is sent again."""
    _, longest = back_off_ms(retries)
    return (retries.attempts - 1) * longest


class Rewrite(Strict, frozen=True):
    """What a request is to the upstream. At most one of `path` and `prefix`."""

    path: str | UnsetType = UNSET
    """`/v2/items/{id}`, `/static/*`: the path behind the pool's base path, with parameters of the operation's path, and
    `*` at its end for what the operation's `*` stands for."""
    prefix: str | UnsetType = UNSET
    """`/v2`: what stands behind the pool's base path in place of the context; `/`: nothing."""
    host: Authority | UnsetType = UNSET
    """The Host header, in place of the pool's, unless a policy chooses another one."""
    keep_host: bool = False
    """The Host header that the client sent, in place of the pool's, unless a policy chooses another one. Not beside
    `host`."""


class OperationRedirect(Strict, frozen=True):
    """Sends the client elsewhere. What is not said stays as the client asked for it, the query too."""

    status: Literal[301, 302, 303, 307, 308] = 302
    scheme: Literal["http", "https"] | UnsetType = UNSET
    """The port stays what it was, unless it was the usual one of the other scheme: say `port` too for another."""
    host: HostName | UnsetType = UNSET
    port: Annotated[int, Meta(ge=1, le=65535)] | UnsetType = UNSET
    path: str | UnsetType = UNSET
    """`/items/{id}`, `/files/*`: the whole path, with parameters of the operation's path and `*` at its end for what
    the operation's `*` stands for."""


class Answer(Strict, frozen=True):
    """What the gateway answers by itself, once the policies of the chain have let the request."""

    status: AnswerStatus = 200
    headers: dict[str, HeaderValue] = msgspec.field(default_factory=dict)
    body: AnswerBody = ""
    """Text, UTF-8; `text/plain` unless `headers` say otherwise."""


class Split(Strict, frozen=True, kw_only=True):
    """A pool's part of an operation's requests. Exactly one of `upstream` and `answer`."""

    upstream: ResourceName | UnsetType = UNSET
    answer: Answer | UnsetType = UNSET
    """What this part is answered by the gateway itself, once the policies of the chain have let the request."""
    weight: Annotated[int, Meta(ge=1, le=1_000_000)]
    """In proportion to the weights of the others."""


class Websocket(Strict, frozen=True):
    """Connections that become WebSockets."""

    idle_timeout: Timeout | UnsetType = UNSET
    """Time without a byte in either direction after which one ends; unset: the operation's `idleTimeout`."""


class Routing(Strict, frozen=True, kw_only=True):
    """What becomes of requests. An API's own holds for all its operations, as far as these do not say otherwise."""

    split: Annotated[list[Split], Meta(min_length=1, max_length=20, extra_json_schema=SPLIT_FORM)] | UnsetType = UNSET
    """The pools that requests are spread over, at random by weight; in place of one `upstream`."""
    mirror: Annotated[list[Mirror], Meta(max_length=5, extra_json_schema=MIRROR_FORM)] | UnsetType = UNSET
    """Pools that are sent copies of requests."""
    retries: (
        Annotated[
            bool | Retries,
            Meta(
                extra_json_schema=expecting(
                    "true, false, or an object of conditions, attempts, perTryTimeout, backOff and methods"
                )
            ),
        ]
        | UnsetType
    ) = UNSET
    """`true`: with all defaults. Unset or `false`: a request is sent once."""
    failover: bool | UnsetType = UNSET
    """Whether policies may name several pools for a request, which are asked one after the other until one answers;
    unset: `false`."""
    rewrite: Rewrite | UnsetType = UNSET
    stream_timeout: Timeout | UnsetType = UNSET
    """Time a whole exchange may take, from the request's headers to the answer's last byte; unset: any."""
    websocket: (
        Annotated[bool | Websocket, Meta(extra_json_schema=expecting("true, false, or an object with idleTimeout"))]
        | UnsetType
    ) = UNSET
    """Whether a GET may open a WebSocket; unset: where no policy of its chain wants a body. There is none where one
    does."""
