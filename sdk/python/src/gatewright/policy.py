"""The whole contract of a Gatewright policy written in Python.

A policy is a module with `on_request(ctx, params)`, `on_response(ctx, params)` or both, either of them `async def`
if it likes. Each runs once per exchange, at the latest phase that the policy's processing mode needs, and returns an
action or None. `params` are the attachment's parameters with defaults applied, read-only at any depth.

A body that the definition says `STREAM` for goes through `on_request_stream(ctx, chunks, params)` or
`on_response_stream(ctx, chunks, params)`: async generators, which are given its chunks as they come, and yield what
goes on instead. With `PROCESS` for the headers beside it, `on_request` or `on_response` runs first, without a body.

    async def on_response_stream(ctx: ResponseStreamContext, chunks: Chunks, params: dict[str, Any]) -> Chunks:
        async for chunk in chunks:
            yield chunk.upper()

An optional `prepare(params)` runs once per policy instance and process, before its first request; what it returns is
`ctx.prepared`. `close(prepared)` beside it runs after the instance's last execution. Or `prepare` yields what is
`ctx.prepared`, once, and what follows the yield closes it. Either may be `async def`; tasks that an async policy makes
are cancelled with its instance. An argument `metadata` of it is a PolicyMetadata.

An optional `setup()` or `setup(system_params)` runs once per process, before the first `prepare` of the policy there;
what it returns, or yields once, is `ctx.shared`, and what prepare gets by an argument `shared`. What follows its yield
runs after the policy's last instance in the process is closed. It may be `async def` as well.

    def on_request(ctx: RequestContext, params: dict[str, Any]) -> RequestAction:
        return UpstreamRequestModifications(set_headers={"X-Custom": "value"})

Anything else that a function returns, and any exception, ends the exchange with an error unless the attachment says
`onError: continue`. `print` and `logging` inside a policy are tied to the policy and the request id.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias

from gatewright.cookies import Cookies
from gatewright.fields import RequestFields, ResponseFields
from gatewright.headers import Headers, HeaderValue
from gatewright.identity import KEY, Identity, as_metadata, identity_of
from gatewright.made_at import MadeAt
from gatewright.metadata import Metadata
from gatewright.params import JsonValue, ReadOnlyDict, ReadOnlyList
from gatewright.path_params import parse_path_params
from gatewright.peer import Peer, parse_peer
from gatewright.query import QueryParams
from gatewright.request_view import host_of, path_segments
from gatewright.trace import TraceContext, parse_trace
from gatewright.trailers import Trailers

__all__ = [
    "Chunk",
    "Chunks",
    "Close",
    "Cookies",
    "FailureClass",
    "HeaderValue",
    "Headers",
    "Identity",
    "ImmediateResponse",
    "JsonValue",
    "Metadata",
    "OnRequest",
    "OnRequestStream",
    "OnResponse",
    "OnResponseStream",
    "Peer",
    "Policy",
    "PolicyMetadata",
    "Prepare",
    "QueryParams",
    "ReadOnlyDict",
    "ReadOnlyList",
    "Reject",
    "RequestAction",
    "RequestContext",
    "RequestFields",
    "RequestStreamContext",
    "ResponseAction",
    "ResponseContext",
    "ResponseFields",
    "ResponseStreamContext",
    "Setup",
    "TraceContext",
    "Trailers",
    "UpstreamRequestModifications",
    "UpstreamResponseModifications",
]

# ------------------------------------------------------------------ what a policy returns


@dataclass(slots=True)
class UpstreamRequestModifications(MadeAt):
    """Changes to the request before it goes on. Headers are applied in the order remove, set, append.

    Control characters other than tabs, pseudo-headers and hop-by-hop headers are refused, and so is what makes the
    message more than 200 header lines or 128 KiB of them.
    None leaves its part unchanged; a body of b"" is an empty body. With a new body the gateway sets content-length, and
    removes content-encoding unless this same action sets it.
    """

    set_headers: Mapping[str, HeaderValue] = field(default_factory=dict)
    """Each replaces all lines of its name, in any case. A list stays several lines."""
    remove_headers: Sequence[str] = field(default_factory=list)
    """Names, in any case, of which all lines go."""
    append_headers: Mapping[str, HeaderValue] = field(default_factory=dict)
    """Lines beside those that there are."""
    body: bytes | str | None = None
    """Replaces the body; `str` goes out as UTF-8."""
    path: str | None = None
    """Without the query; it must stay under the API's context."""
    query: str | None = None
    """Without "?"; "" takes it away."""
    method: str | None = None
    authority: str | None = None
    """The host that upstream sees, with a port if it needs one."""
    upstream: str | None = None
    """The name of one of the API's upstreams, to which the request goes: "canary". Any other one is refused; the last
    policy that names one chooses."""
    analytics_metadata: Mapping[str, JsonValue] = field(default_factory=dict)
    """For the access log, where it stands in `analytics`."""


@dataclass(slots=True)
class UpstreamResponseModifications(MadeAt):
    """Changes to the response before it goes back. Headers as in UpstreamRequestModifications."""

    set_headers: Mapping[str, HeaderValue] = field(default_factory=dict)
    """Each replaces all lines of its name, in any case. A list stays several lines."""
    remove_headers: Sequence[str] = field(default_factory=list)
    """Names, in any case, of which all lines go."""
    append_headers: Mapping[str, HeaderValue] = field(default_factory=dict)
    """Lines beside those that there are."""
    body: bytes | str | None = None
    """Replaces the body; `str` goes out as UTF-8."""
    status_code: int | None = None
    """200 to 599."""
    analytics_metadata: Mapping[str, JsonValue] = field(default_factory=dict)
    """For the access log, where it stands in `analytics`."""


@dataclass(slots=True)
class ImmediateResponse(MadeAt):
    """Answers the client. From on_request, upstream is not asked; from on_response, it replaces the response."""

    status_code: int
    """200 to 599."""
    headers: Mapping[str, HeaderValue] = field(default_factory=dict)
    body: bytes | str = b""
    analytics_metadata: Mapping[str, JsonValue] = field(default_factory=dict)
    """For the access log, where it stands in `analytics`."""


class Reject(Exception):  # noqa: N818 - it says what it does
    """Raised in on_request_stream or on_response_stream: answers the client, as a returned ImmediateResponse would.

    Once the response's headers are out, nothing can be answered any more, and the stream is reset.
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
    """Refused at a queue, never started."""
    UNAVAILABLE = "unavailable"
    """No process takes it, or what the policy needs does not answer (`sdk.store`)."""
    CRASHED = "crashed"
    """Sent, and no answer came; it is never tried again."""
    EXCEPTION = "exception"
    """The function raised."""
    BAD_ACTION = "badAction"
    """What the function returned is no action, or not a valid one."""
    BODY_TOO_LARGE = "bodyTooLarge"
    """A body that the policy wants is larger than the attachment's `maxBodyBytes`."""
    BAD_BODY = "badBody"
    """A body that the policy wants cannot be decoded, or has a content encoding where the definition refuses one."""


# ------------------------------------------------------------------ what a policy is given


@dataclass(frozen=True, slots=True)
class PolicyMetadata:
    """Which policy instance this is: `ctx.policy`, and the second argument of `prepare(params, metadata)`.

    An instance belongs to one attachment of one API. Attached to the API as a whole it serves all operations that the
    API has, and `operation` is "".
    """

    policy_name: str
    """As in the definition: add-python-header."""
    policy_version: str
    """Exact: v1.0.0."""
    api_name: str = ""
    """`metadata.name` of the API: orders-v1."""
    api_version: str = ""
    """`spec.version` of the API: v1.0."""
    system_params: dict[str, Any] = field(default_factory=ReadOnlyDict)
    """What the operator sets for this policy, defaults applied; {} where the definition has no `systemParameters`.
    Read-only at any depth."""
    operation: str = ""
    """The operation that the policy is attached to: GET /{id}, or GET /{id} [x-version=2]. "" where it is the API's."""


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


class RequestContext:
    """The request as the chain sees it now: what the policies before changed is in it. Read-only, but for `metadata`
    and `identity`.

    Text is UTF-8 with surrogateescape, so no byte is refused or lost.
    """

    __slots__ = ("_body", "_deadline", "_fields", "_headers", "_metadata", "_policy", "_prepared", "_shared")

    def __init__(
        self,
        fields: RequestFields,
        body: bytes | None,
        policy: PolicyMetadata,
        prepared: Any,
        deadline: float,  # time.monotonic()
        shared: Any = None,
    ) -> None:
        self._fields = fields
        self._deadline = deadline
        self._headers: Headers | None = None
        self._body = body
        self._metadata: Metadata | None = None
        self._policy = policy
        self._prepared = prepared
        self._shared = shared

    @property
    def body(self) -> bytes | None:
        """None: the request has none, or the policy's definition does not ask for it in this phase.

        In on_request by `requestBodyMode: BUFFER`; in on_response, as `ctx.request.body`, by `requestBodyInResponse`.
        """
        return self._body

    @property
    def has_body(self) -> bool:
        """Whether the request has a body, also where the policy is not given it: the client's, unless the request ended
        with its headers, or what the policies before have made of it. Over HTTP/2 no header need tell of one. A body
        that has not come yet may turn out to be empty."""
        return self._fields.has_body

    @property
    def metadata(self) -> Metadata:
        """One object per exchange, shared by all its policies, from request to response."""
        if self._metadata is None:
            about = self._policy
            self._metadata = Metadata(self._fields.metadata, f"{about.policy_name}:{about.policy_version}")
        return self._metadata

    @property
    def prepared(self) -> Any:
        """What prepare returned or yielded; None without one."""
        return self._prepared

    @property
    def shared(self) -> Any:
        """What setup returned or yielded, for all instances of the policy in this process; None without one."""
        return self._shared

    @property
    def policy(self) -> PolicyMetadata:
        """Which policy instance this is: name, version, API, operator's parameters."""
        return self._policy

    @property
    def headers(self) -> Headers:
        """Case-insensitive, multi-valued: `headers["X-A"]`, `headers.get_all("X-A")`, `headers.raw`."""
        if self._headers is None:
            self._headers = Headers(self._fields.request_headers)
        return self._headers

    @property
    def method(self) -> str:
        """GET, in upper case as the client sent it or as the policies before have set it."""
        return _text(self._fields.method)

    @property
    def path(self) -> str:
        """Without the query; as the policies before have left it. It begins with the API's context.

        It is in the one spelling that decisions are made by, `/a:b` also where the client wrote `/a%3ab`: reserved
        characters stand for themselves, all others are encoded in upper case, `/caf%C3%A9`. Under `strictPaths` a slash
        at the end is there where the operation's path has one.
        """
        return _text(self._fields.path)

    @property
    def path_segments(self) -> tuple[str, ...]:
        """The parts of `path` between its slashes, percent-decoded, none of them empty."""
        return path_segments(self.path)

    @property
    def raw_path(self) -> str:
        """The path as it goes upstream, in the client's own spelling: for a signature of it, for the key of what an
        upstream has answered, and for a path that is made of it. Rules and limits go by `path`."""
        return _text(self._fields.raw_path or self._fields.path)

    @property
    def query(self) -> str:
        """Without "?"; "" where there is none. As the policies before have left it, as are `method` and `authority`."""
        return _text(self._fields.query)

    @property
    def query_params(self) -> QueryParams:
        """The names and values of `query`: `ctx.query_params["page"]`; `replaced` and `without` make another query."""
        return QueryParams(self.query)

    @property
    def cookies(self) -> Cookies:
        """Of the Cookie headers: `ctx.cookies["session"]`; `replaced` and `without` make another header."""
        return Cookies(self.headers.get_all("cookie"))

    @property
    def identity(self) -> Identity | None:
        """Who the request is from, as a policy before has found out, or this one; None where none has. It is set by
        `ctx.identity = Identity(…)`, taken away by None, and stands in `metadata["identity"]`."""
        return identity_of(self.metadata)

    @identity.setter
    def identity(self, identity: Identity | None) -> None:
        if identity is None:
            self.metadata.pop(KEY, None)
        else:
            self.metadata[KEY] = as_metadata(identity)

    @property
    def scheme(self) -> str:
        """ "http" or "https": how the client reached the gateway."""
        return _text(self._fields.scheme)

    @property
    def authority(self) -> str:
        """The host as the client named it, with the port if it named one; `host` is the form to compare."""
        return _text(self._fields.authority)

    @property
    def host(self) -> str:
        """The host of `authority` in the one form that decisions are made by: in lower case, without port and without
        the dot at the end of a full name, an IPv6 address without brackets."""
        return host_of(self.authority)

    @property
    def client_address(self) -> str:
        """ip:port of the client, IPv6 in brackets: [::1]:4711. The connection's other end, or whom a proxy names that
        the Gateway trusts (`trustedProxies`, PROXY protocol), with port 0 where it names none. No other header counts.
        """
        return _text(self._fields.client_address)

    @property
    def peer(self) -> Peer | None:
        """Who the client is by its certificate, which the gateway has verified: subject, other names, fingerprint.

        None on listeners that ask for no certificates, and of clients that have shown none where they need not. No
        header of a client says anything of it.
        """
        return parse_peer(self._fields.peer)

    @property
    def upstream(self) -> str | None:
        """The name of the API's upstream that the policies before have chosen; None for the operation's own."""
        return _text(self._fields.upstream) or None

    @property
    def upstream_path(self) -> str | None:
        """The path that the upstream would get if no later policy changed `path` or `upstream`, for signatures of it:
        `raw_path` with the base path of the upstream's URL in the place of the API's context, and rewritten as the API
        says. Without the query.

        None where nothing goes upstream (a redirect, an answer), and where Envoy has yet to choose between upstreams
        with other base paths (`split`). In the response phase it is the path that went upstream.
        """
        return _text(self._fields.upstream_path) or None

    @property
    def request_id(self) -> str:
        """Unique for each request: the `x-request-id` that upstream, the logs and error answers have too."""
        return _text(self._fields.request_id)

    @property
    def api_name(self) -> str:
        """`metadata.name` of the API: orders-v1."""
        return self._policy.api_name

    @property
    def api_version(self) -> str:
        """`spec.version` of the API: v1.0."""
        return self._policy.api_version

    @property
    def api_context(self) -> str:
        """The path that all of the API lies under, with which `path` and `raw_path` begin: `/orders/v1.0`; `/` is the
        root. What stands behind it goes upstream, below the path of the upstream's URL."""
        return _text(self._fields.path[: self._fields.context_size]) or "/"

    @property
    def operation(self) -> str:
        """The API's operation that matched: "GET /{id}"; "GET /{id} [x-version=2]" if it matches headers or query."""
        return _text(self._fields.operation)

    @property
    def path_params(self) -> Mapping[str, str]:
        """Those of the operation's path, percent-decoded: of GET /{id} `ctx.path_params["id"]`. Read-only; {} where the
        path has none.

        They are of the path as the client sent it, whatever policies have made of `path`. A value is never "", and may
        hold any character that a path may have encoded: not "/" and NUL, which the gateway refuses.
        """
        return parse_path_params(self._fields.path_params)

    @property
    def trace_context(self) -> TraceContext | None:
        """From `traceparent` and `tracestate`; None where there is none, or it is invalid."""
        headers = self.headers
        return parse_trace(headers.get("traceparent", ""), ",".join(headers.get_all("tracestate")))

    @property
    def traceparent(self) -> str:
        """Of this execution's span, for calls that the policy makes with headers of its own: `00-TRACE-SPAN-01`, as W3C
        Trace Context writes it. "" where the execution is not traced: then a call has no such header.
        """
        return _text(self._fields.traceparent)

    def time_remaining(self) -> float:
        """Seconds until this execution's timeout, never below 0. In a stream: those that its own work may take yet,
        until it asks for a chunk or yields one."""
        return max(0.0, self._deadline - time.monotonic())


class ResponseContext:
    """The response as the chain sees it now, with the request that it answers. Read-only, but for `metadata`.

    `request.identity`, `request.cookies` and `request.query_params` are there as well.
    """

    __slots__ = ("_body", "_fields", "_headers", "_request")

    def __init__(self, fields: ResponseFields, body: bytes | None, request: RequestContext) -> None:
        self._fields = fields
        self._headers: Headers | None = None
        self._body = body
        self._request = request

    @property
    def request(self) -> RequestContext:
        """The request as it went upstream, or as it was when a policy answered it.

        Its `body` is there where the policy's definition says `requestBodyInResponse: true`, else None.
        """
        return self._request

    @property
    def body(self) -> bytes | None:
        """None: the response has none, or the policy's definition does not ask for it."""
        return self._body

    @property
    def status_code(self) -> int:
        """Of the response as the policies before have left it: 200 to 599."""
        return self._fields.status

    @property
    def headers(self) -> Headers:
        """The response's headers; the request's are `request.headers`."""
        if self._headers is None:
            self._headers = Headers(self._fields.response_headers)
        return self._headers

    @property
    def metadata(self) -> Metadata:
        """`request.metadata`: one object per exchange, shared by all its policies."""
        return self._request.metadata

    @property
    def policy(self) -> PolicyMetadata:
        """`request.policy`: which policy instance this is."""
        return self._request.policy

    @property
    def prepared(self) -> Any:
        """`request.prepared`: what prepare returned or yielded; None without one."""
        return self._request.prepared

    @property
    def shared(self) -> Any:
        """`request.shared`: what setup returned or yielded; None without one."""
        return self._request.shared

    @property
    def traceparent(self) -> str:
        """Of this execution's span, as in a RequestContext; "" where it is not traced."""
        return self._request.traceparent

    def time_remaining(self) -> float:
        """Seconds until this execution's timeout, never below 0."""
        return self._request.time_remaining()


class RequestStreamContext(RequestContext):
    """What on_request_stream is given: the request as a RequestContext, its `body` None, and its trailers."""

    __slots__ = ("_trailers",)

    def __init__(
        self,
        fields: RequestFields,
        policy: PolicyMetadata,
        prepared: Any,
        deadline: float,  # time.monotonic()
        trailers: Trailers,
        shared: Any = None,
    ) -> None:
        super().__init__(fields, None, policy, prepared, deadline, shared)
        self._trailers = trailers

    @property
    def trailers(self) -> Trailers:
        """Of the request: read when its chunks have ended, written at any time."""
        return self._trailers


class ResponseStreamContext(ResponseContext):
    """What on_response_stream is given: the response as a ResponseContext, its `body` None, and its trailers."""

    __slots__ = ("_trailers",)

    def __init__(self, fields: ResponseFields, request: RequestContext, trailers: Trailers) -> None:
        super().__init__(fields, None, request)
        self._trailers = trailers

    @property
    def trailers(self) -> Trailers:
        """Of the response: read when its chunks have ended, written at any time."""
        return self._trailers


def touched_metadata(context: RequestContext | ResponseContext) -> Metadata | None:
    """The metadata if the policy ever asked for it. For whoever runs the policy."""
    request = context.request if isinstance(context, ResponseContext) else context
    return request._metadata


# ------------------------------------------------------------------ the functions

OnRequest: TypeAlias = Callable[[RequestContext, dict[str, Any]], RequestAction | Awaitable[RequestAction]]
OnResponse: TypeAlias = Callable[[ResponseContext, dict[str, Any]], ResponseAction | Awaitable[ResponseAction]]
Chunks: TypeAlias = AsyncIterator[bytes]
"""A body in parts, for `async for`. None is empty, and their boundaries mean nothing."""
Chunk: TypeAlias = bytes | bytearray | memoryview | str
"""What a stream yields; `str` goes out as UTF-8. An empty one sends what has been held back, and no data."""
OnRequestStream: TypeAlias = Callable[[RequestStreamContext, Chunks, dict[str, Any]], AsyncIterator[Chunk]]
OnResponseStream: TypeAlias = Callable[[ResponseStreamContext, Chunks, dict[str, Any]], AsyncIterator[Chunk]]
Setup: TypeAlias = Callable[[], Any] | Callable[[dict[str, Any]], Any]
"""`setup()` or `setup(system_params)`."""
Prepare: TypeAlias = Callable[..., Any]
"""`prepare(params)`, with `metadata: PolicyMetadata` and `shared` behind it, either of them, by its name."""
Close: TypeAlias = Callable[[Any], Awaitable[None] | None]


class Policy:
    """Deprecated: write functions. A module with `get_policy(metadata: PolicyMetadata, params) -> Policy` still runs.

    There is one object per policy instance and process; many threads call it at the same time.
    """

    def __init__(self, metadata: PolicyMetadata | None = None, params: dict[str, Any] | None = None) -> None:
        """A subclass may pass on what get_policy was given, or nothing; it is kept in `metadata` and `params`."""
        self.metadata = metadata
        self.params = params

    def on_request(self, ctx: RequestContext, params: dict[str, Any]) -> RequestAction:  # noqa: ARG002
        return None

    def on_response(self, ctx: ResponseContext, params: dict[str, Any]) -> ResponseAction:  # noqa: ARG002
        return None
