"""The whole contract of a Gatewright policy written in Python.

A policy is a module with `on_request(ctx, params)`, `on_response(ctx, params)` or both, each a plain function or
`async def`. Each runs once per exchange, as soon as the message parts that the policy's processing mode names are
there, and returns an action or None. `params` are the attachment's parameters with defaults applied, read-only at any
depth.

A body for which the definition says `STREAM` goes through `on_request_stream(ctx, chunks, params)` or
`on_response_stream(ctx, chunks, params)`: async generators, which get the body's chunks as they come, and yield the
chunks that go on instead. If the definition says `PROCESS` for the headers too, `on_request` or `on_response` runs
first, without a body.

    async def on_response_stream(ctx: ResponseStreamContext, chunks: Chunks, params: dict[str, Any]) -> Chunks:
        async for chunk in chunks:
            yield chunk.upper()

An optional `prepare(params)` runs once per policy instance and process, before its first request; the value that it
returns is `ctx.prepared`. `close(prepared)` beside it runs after the instance's last execution. Alternatively,
`prepare` yields `ctx.prepared` once, and the code after the yield closes it. Either may be `async def`; tasks that an
async policy creates are cancelled when its instance is closed. An argument `metadata` of `prepare` gets a
PolicyMetadata.

An optional `setup()` or `setup(system_params)` runs once per process, before the policy's first `prepare` there. The
value that it returns, or yields once, is `ctx.shared`; an argument `shared` of `prepare` gets it too. The code after
the yield runs when the policy's last instance in the process is closed. `setup` may be `async def` as well.

    def on_request(ctx: RequestContext, params: dict[str, Any]) -> RequestAction:
        return UpstreamRequestModifications(set_headers={"X-Custom": "value"})

Any other return value, and any exception, ends the exchange with an error unless the attachment says
`onError: continue`. Lines of `print` and `logging` name the policy and the request id.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from gatewright.cookies import Cookies
from gatewright.fields import RequestFields, ResponseFields
from gatewright.headers import Headers, HeaderValue
from gatewright.identity import KEY, Identity, as_metadata, identity_of
from gatewright.metadata import Metadata
from gatewright.params import JsonValue, ReadOnlyDict, ReadOnlyList
from gatewright.path_params import parse_path_params
from gatewright.peer import Peer, parse_peer
from gatewright.query import QueryParams
from gatewright.request_view import host_of, path_segments
from gatewright.returns import (
    Attempt,
    FailureClass,
    ImmediateResponse,
    Reject,
    RequestAction,
    ResponseAction,
    UpstreamRequestModifications,
    UpstreamResponseModifications,
)
from gatewright.trace import TraceContext, parse_trace
from gatewright.trailers import Trailers

__all__ = [
    "Attempt",
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

# ------------------------------------------------------------------ the arguments of a policy


@dataclass(frozen=True, slots=True)
class PolicyMetadata:
    """Identifies a policy instance: `ctx.policy`, and the argument `metadata` of `prepare(params, metadata)`.

    An instance belongs to one attachment of one API. If the policy is attached to the API as a whole, the instance
    serves all operations of the API, and `operation` is "".
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
    """The operator's parameters for this policy, defaults applied; {} if the definition has no `systemParameters`.
    Read-only at any depth."""
    operation: str = ""
    """The operation that the policy is attached to: GET /{id}, or GET /{id} [x-version=2]. "" for the whole API."""


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


class RequestContext:
    """The request with the changes of the policies before this one. Read-only, except for `metadata` and `identity`.

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
        """The request's body. None: it has none, or the policy's definition does not ask for it in this phase.

        A definition asks by `requestBodyMode: BUFFER`; for on_response by `requestBodyInResponse: true`.
        """
        return self._body

    @property
    def has_body(self) -> bool:
        """Whether the request has a body, even if the policy does not see it: the client's, unless the request ended
        with its headers, or the one that policies before have set. Over HTTP/2 no header need announce a body. A body
        that has not come yet may turn out to be empty."""
        return self._fields.has_body

    @property
    def metadata(self) -> Metadata:
        """One object per exchange, shared by all its policies, from request to response."""
        if self._metadata is None:
            policy = self._policy
            self._metadata = Metadata(self._fields.metadata, f"{policy.policy_name}:{policy.policy_version}")
        return self._metadata

    @property
    def prepared(self) -> Any:
        """The value that `prepare` returned or yielded; None without a `prepare`."""
        return self._prepared

    @property
    def shared(self) -> Any:
        """The value that `setup` returned or yielded, for all the policy's instances in this process; else None."""
        return self._shared

    @property
    def policy(self) -> PolicyMetadata:
        """The policy instance: name, version, API, operator's parameters."""
        return self._policy

    @property
    def headers(self) -> Headers:
        """Case-insensitive, multi-valued: `headers["X-A"]`, `headers.get_all("X-A")`, `headers.raw`."""
        if self._headers is None:
            self._headers = Headers(self._fields.request_headers)
        return self._headers

    @property
    def method(self) -> str:
        """The method, for instance GET, as the client sent it or a policy before has set it."""
        return _text(self._fields.method)

    @property
    def path(self) -> str:
        """The path without the query, as the policies before have left it. It begins with the API's context.

        It is normalized, so that a decision by it holds for all spellings of a path: `/a:b` also if the client wrote
        `/a%3ab`. Reserved characters are not encoded, all others are, in upper case: `/caf%C3%A9`. Under `strictPaths`
        the path ends with a slash only if the operation's path does.
        """
        return _text(self._fields.path)

    @property
    def path_segments(self) -> tuple[str, ...]:
        """The parts of `path` between its slashes, percent-decoded, none of them empty."""
        return path_segments(self.path)

    @property
    def raw_path(self) -> str:
        """The path as it goes upstream, in the client's spelling: for signatures, for keys of cached responses, and to
        make another path of it. For rules and limits use `path`."""
        return _text(self._fields.raw_path or self._fields.path)

    @property
    def query(self) -> str:
        """The query without "?", as the policies before have left it; "" if there is none."""
        return _text(self._fields.query)

    @property
    def query_params(self) -> QueryParams:
        """The parameters in `query`: `ctx.query_params["page"]`; `replaced` and `without` return another query."""
        return QueryParams(self.query)

    @property
    def cookies(self) -> Cookies:
        """The cookies of the request: `ctx.cookies["session"]`; `replaced` and `without` return other cookies."""
        return Cookies(self.headers.get_all("cookie"))

    @property
    def identity(self) -> Identity | None:
        """The verified sender of the request, set by a policy before or by this one; None if no policy has set it.
        `ctx.identity = Identity(…)` sets it, None removes it; it is kept in `metadata["identity"]`."""
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
        """The host as the client or a policy before has named it, with the port if there is one; compare `host`."""
        return _text(self._fields.authority)

    @property
    def host(self) -> str:
        """The host of `authority`, normalized for decisions: in lower case, without port and without the dot at the end
        of a full name, an IPv6 address without brackets."""
        return host_of(self.authority)

    @property
    def client_address(self) -> str:
        """ip:port of the client, IPv6 in brackets: [::1]:4711. It is the other end of the connection, or the address
        that a trusted proxy reports (`trustedProxies`, PROXY protocol), with port 0 if it reports none. No other header
        has an effect on it."""
        return _text(self._fields.client_address)

    @property
    def peer(self) -> Peer | None:
        """The client's certificate, which the gateway has verified: subject, other names, fingerprint.

        None on listeners that ask for no certificates, and for clients without one if certificates are optional. No
        header of a client has an effect on it.
        """
        return parse_peer(self._fields.peer)

    @property
    def upstream(self) -> str | None:
        """The name of the API's upstream that policies before have chosen; None for the operation's default. Of
        several attempts it is the first, and in the response phase the one that answered."""
        return _text(self._fields.upstream) or None

    @property
    def upstream_path(self) -> str | None:
        """The path that the upstream gets if no later policy changes `path` or `upstream`, for signatures: `raw_path`
        with the base path of the upstream's URL instead of the API's context, rewritten as the API says. Without the
        query.

        None if nothing goes upstream (a redirect, a fixed answer), or if Envoy has yet to choose between upstreams with
        different base paths (`split`). In the response phase it is the path that went upstream.
        """
        return _text(self._fields.upstream_path) or None

    @property
    def request_id(self) -> str:
        """The id of this request: the `x-request-id` that the upstream, the logs and error responses have too."""
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
        root. The rest of the path goes upstream, below the path of the upstream's URL."""
        return _text(self._fields.path[: self._fields.context_size]) or "/"

    @property
    def operation(self) -> str:
        """The API's operation that matched: "GET /{id}"; "GET /{id} [x-version=2]" if it matches headers or query."""
        return _text(self._fields.operation)

    @property
    def path_params(self) -> Mapping[str, str]:
        """The parameters of the operation's path, percent-decoded: for GET /{id} `ctx.path_params["id"]`. Read-only; {}
        if the path has none.

        They come from the path that the client sent, whatever policies have made of `path`. A value is never "", and
        may contain any character but "/" and NUL, whose encodings the gateway refuses.
        """
        return parse_path_params(self._fields.path_params)

    @property
    def trace_context(self) -> TraceContext | None:
        """The client's trace, from `traceparent` and `tracestate`; None if it has none, or an invalid one."""
        headers = self.headers
        return parse_trace(headers.get("traceparent", ""), ",".join(headers.get_all("tracestate")))

    @property
    def traceparent(self) -> str:
        """The `traceparent` header for calls that the policy makes, with this execution's span: `00-TRACE-SPAN-01`
        (W3C Trace Context). "" if the execution is not traced: then send no such header.
        """
        return _text(self._fields.traceparent)

    def time_remaining(self) -> float:
        """Seconds until this execution's timeout, never below 0. In a stream: the seconds that its code may still run
        before it asks for a chunk or yields one."""
        return max(0.0, self._deadline - time.monotonic())


class ResponseContext:
    """The response with the changes of the policies before this one, and its request. Read-only, except for `metadata`.

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

        Its `body` is None unless the policy's definition says `requestBodyInResponse: true`.
        """
        return self._request

    @property
    def body(self) -> bytes | None:
        """The response's body. None: it has none, or the policy's definition does not ask for it."""
        return self._body

    @property
    def status_code(self) -> int:
        """The status code as the policies before have left it: 200 to 599."""
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
        """`request.policy`: the policy instance."""
        return self._request.policy

    @property
    def prepared(self) -> Any:
        """`request.prepared`: the value that `prepare` returned or yielded; None without a `prepare`."""
        return self._request.prepared

    @property
    def shared(self) -> Any:
        """`request.shared`: the value that `setup` returned or yielded; None without a `setup`."""
        return self._request.shared

    @property
    def traceparent(self) -> str:
        """The header with this execution's span, as in a RequestContext; "" if the execution is not traced."""
        return self._request.traceparent

    def time_remaining(self) -> float:
        """Seconds until this execution's timeout, never below 0."""
        return self._request.time_remaining()


class RequestStreamContext(RequestContext):
    """The context of on_request_stream: that of on_request, with `body` None, the request's trailers, and
    `analytics`."""

    __slots__ = ("_analytics", "_trailers")

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
        self._analytics: dict[str, JsonValue] | None = None

    @property
    def trailers(self) -> Trailers:
        """The request's trailers: readable once its chunks have ended, writable at any time."""
        return self._trailers

    @property
    def analytics(self) -> dict[str, JsonValue]:
        """Values for the access log, in its field `analytics`, to be filled until the stream ends.

        A value takes the place of one that an action or a policy before has left under its name. Nothing is logged of
        a stream that raises, or whose client leaves; a Reject has its answer's own `analytics_metadata`.
        """
        if self._analytics is None:
            self._analytics = {}
        return self._analytics


class ResponseStreamContext(ResponseContext):
    """The context of on_response_stream: that of on_response, with `body` None, the response's trailers, and
    `analytics`."""

    __slots__ = ("_analytics", "_trailers")

    def __init__(self, fields: ResponseFields, request: RequestContext, trailers: Trailers) -> None:
        super().__init__(fields, None, request)
        self._trailers = trailers
        self._analytics: dict[str, JsonValue] | None = None

    @property
    def trailers(self) -> Trailers:
        """The response's trailers: readable once its chunks have ended, writable at any time."""
        return self._trailers

    @property
    def analytics(self) -> dict[str, JsonValue]:
        """Values for the access log, as in a RequestStreamContext."""
        if self._analytics is None:
            self._analytics = {}
        return self._analytics


def touched_metadata(context: RequestContext | ResponseContext) -> Metadata | None:
    """The metadata if the policy has used it, else None. For the code that runs policies."""
    request = context.request if isinstance(context, ResponseContext) else context
    return request._metadata


def touched_analytics(context: RequestStreamContext | ResponseStreamContext) -> dict[str, JsonValue] | None:
    """The analytics that a stream has left; None or empty: none. For the code that runs policies."""
    return context._analytics


# ------------------------------------------------------------------ the functions

OnRequest: TypeAlias = Callable[[RequestContext, dict[str, Any]], RequestAction | Awaitable[RequestAction]]
OnResponse: TypeAlias = Callable[[ResponseContext, dict[str, Any]], ResponseAction | Awaitable[ResponseAction]]
Chunks: TypeAlias = AsyncIterator[bytes]
"""A body in parts, for `async for`. No chunk is empty, and their boundaries have no meaning."""
Chunk: TypeAlias = bytes | bytearray | memoryview | str
"""A chunk that a stream yields; `str` is encoded as UTF-8. An empty chunk sends no data, but what has been held back
before it: the message's headers, and chunks that wait to be sent together."""
OnRequestStream: TypeAlias = Callable[[RequestStreamContext, Chunks, dict[str, Any]], AsyncIterator[Chunk]]
OnResponseStream: TypeAlias = Callable[[ResponseStreamContext, Chunks, dict[str, Any]], AsyncIterator[Chunk]]
Setup: TypeAlias = Callable[[], Any] | Callable[[dict[str, Any]], Any]
"""`setup()` or `setup(system_params)`."""
Prepare: TypeAlias = Callable[..., Any]
"""`prepare(params)`, optionally with arguments named `metadata` (a PolicyMetadata) and `shared`."""
Close: TypeAlias = Callable[[Any], Awaitable[None] | None]


class Policy:
    """Deprecated: write functions. A module with `get_policy(metadata: PolicyMetadata, params) -> Policy` still runs.

    There is one object per policy instance and process; many threads call it at the same time.
    """

    def __init__(self, metadata: PolicyMetadata | None = None, params: dict[str, Any] | None = None) -> None:
        """Keeps `metadata` and `params`. A subclass may pass the arguments of get_policy, or nothing."""
        self.metadata = metadata
        self.params = params

    def on_request(self, ctx: RequestContext, params: dict[str, Any]) -> RequestAction:  # noqa: ARG002
        return None

    def on_response(self, ctx: ResponseContext, params: dict[str, Any]) -> ResponseAction:  # noqa: ARG002
        return None
