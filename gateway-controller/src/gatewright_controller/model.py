"""The `Api` resource as a publisher writes it: fields, units, defaults. What values mean is checked in `validation`."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from gatewright_documents.strict import expecting
from gatewright_documents.values import JsonObject
from msgspec import UNSET, Meta, Struct, UnsetType

OnError = Literal["fail", "continue"]
AccessLog = Literal["all", "errors", "none"]
UpstreamProtocol = Literal["http1", "http2", "auto"]
Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


ApiName = Annotated[
    str,
    Meta(
        pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$",
        extra_json_schema=expecting("1 to 63 lower-case letters, digits and inner hyphens, such as 'orders-v1'"),
    ),
]
ApiVersion = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,30}[A-Za-z0-9])?$",
        extra_json_schema=expecting("a quoted version such as 'v1.0', of letters, digits, '.', '_' and '-'"),
    ),
]
PolicyVersion = Annotated[
    str,
    Meta(
        pattern=r"^v(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*))?$",
        extra_json_schema=expecting("'v1' for the newest v1.x.y, or an exact version such as 'v1.2.3'"),
    ),
]
Timeout = Annotated[
    str,
    Meta(
        pattern=r"^[1-9][0-9]{0,6}(ms|s)$",
        extra_json_schema=expecting("a whole number of ms or s, such as '200ms' or '1s'"),
    ),
]
Text = Annotated[str, Meta(min_length=1, max_length=200, extra_json_schema=expecting("1 to 200 characters"))]

DEFAULT_TIMEOUT = "1s"
DEFAULT_MAX_BODY_BYTES = 1024 * 1024


class Strict(Struct, frozen=True, forbid_unknown_fields=True, rename="camel", omit_defaults=True, kw_only=True):
    """A struct that refuses keys it does not know."""


class OnErrorByClass(Strict, frozen=True):
    """What a failure of each class does; the classes not named fail."""

    timeout: OnError | UnsetType = UNSET
    overloaded: OnError | UnsetType = UNSET
    unavailable: OnError | UnsetType = UNSET
    crashed: OnError | UnsetType = UNSET
    exception: OnError | UnsetType = UNSET
    bad_action: OnError | UnsetType = UNSET
    body_too_large: OnError | UnsetType = UNSET
    bad_body: OnError | UnsetType = UNSET

    def named(self) -> dict[str, OnError]:
        """The classes that are named, as the resource spells them."""
        choices: dict[str, OnError] = msgspec.to_builtins(self)
        return choices


class PolicyAttachment(Strict, frozen=True):
    """A policy named in an API, with its parameters and settings."""

    name: str
    version: PolicyVersion
    params: JsonObject = {}
    timeout: Timeout = DEFAULT_TIMEOUT
    """Time one execution may take. Of a stream: what the policy's own work may take for one chunk."""
    stream_idle_timeout: Timeout | UnsetType = UNSET
    """Time that a policy which streams a body may wait for its next chunk; unset: as long as `idleTimeout` lets it."""
    on_error: Annotated[
        OnError | OnErrorByClass, Meta(extra_json_schema=expecting("fail, continue, or an object of failure classes"))
    ] = "fail"
    """What a failure does; `continue` discards the whole action and goes on."""
    max_concurrency: Annotated[int, Meta(ge=1, le=1_000_000)] | UnsetType = UNSET
    """Executions of this attachment under way at once; unset: the node's own default."""
    max_body_bytes: Annotated[int, Meta(ge=1, le=1024**3)] = DEFAULT_MAX_BODY_BYTES
    """Largest body that the policy is given; a larger one fails with `bodyTooLarge`."""


class Upstream(Strict, frozen=True):
    """Where requests go."""

    url: str
    """`http://host[:port][/base]` or `https://…`; the part of the path after the context is put behind the base.
    `grpc://…` and `grpcs://…` are the same with `protocol: http2`, without and with TLS."""
    protocol: UpstreamProtocol | UnsetType = UNSET
    """What is spoken with it: `http1`, `http2`, or `auto`: over TLS what it chooses (ALPN), in clear what the client
    speaks. Unset: `http1`, and `http2` with a `grpc://` or `grpcs://` URL."""


class Upstreams(Strict, frozen=True):
    """The upstreams of an API; there is one so far."""

    main: Upstream


class Operation(Strict, frozen=True):
    """One method at one path of the API, with its policies behind those of the API."""

    method: Method
    path: str
    """`/`, `/items`, `/{id}`, `/files/*`: under the context, by segments."""
    policies: list[PolicyAttachment] = []
    request_timeout: Timeout | UnsetType = UNSET
    idle_timeout: Timeout | UnsetType = UNSET
    """Both overrule the API's own."""


class ApiSpec(Strict, frozen=True, kw_only=True):
    """What an API is."""

    display_name: Text | UnsetType = UNSET
    version: ApiVersion
    context: str
    """`/orders/$version`: the prefix of all the API's paths; `$version` stands for `version`."""
    upstream: Upstreams
    policies: list[PolicyAttachment] = []
    """API level: these run before the operation's own."""
    operations: Annotated[list[Operation], Meta(min_length=1, max_length=1000)]
    access_log: AccessLog = "all"
    """Which of its requests have a line in the node's access log: `all` of which the node writes a line (it may write
    one for a share of them), those of `errors` (answered with 500 and above), or `none`."""
    encoded_responses: bool = False
    """An upstream may encode (gzip, br) responses that policies read, as the client accepts; they are decoded for the
    policies and encoded again for the client. `false`: the upstream is asked not to encode them."""
    strict_paths: bool = True
    """Requests with `;`, encoded slashes and doubly encoded characters in their paths are refused, and a slash at the
    end makes no other path."""
    request_timeout: Timeout | UnsetType = UNSET
    """Time an upstream has from the end of the request until its answer begins; unset: the operator's, 60s."""
    idle_timeout: Timeout | UnsetType = UNSET
    """Time without a byte in either direction after which an exchange ends; unset: the operator's, 60s, or as much more
    as the policies' timeouts and `requestTimeout` need."""


class Metadata(Strict, frozen=True):
    """What an API is called: its name is unique and does not change."""

    name: ApiName


class Api(Strict, frozen=True):
    """One `Api` resource, as its publisher writes it."""

    api_version: Literal["gatewright.dev/v1"]
    kind: Literal["Api"]
    metadata: Metadata
    spec: ApiSpec


def milliseconds(timeout: str) -> int:
    """`"200ms"` is 200, `"1s"` is 1000."""
    return int(timeout[:-2]) if timeout.endswith("ms") else int(timeout[:-1]) * 1000


def to_document(api: Api) -> JsonObject:
    """The API as plain values, fields with their defaults left out."""
    document: JsonObject = msgspec.to_builtins(api)
    return document


def from_document(document: JsonObject) -> Api:
    """The inverse of `to_document`, for documents that were validated before."""
    return msgspec.convert(document, Api)
