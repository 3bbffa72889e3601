"""The `Api` resource as a publisher writes it: fields, units, defaults. What values mean is checked in `validation`."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from gatewright_documents.strict import expecting
from gatewright_documents.values import JsonObject
from msgspec import UNSET, Meta, UnsetType

from gatewright_controller.model.common import Labels, ResourceName, Strict, Text, Timeout
from gatewright_controller.model.matches import HeaderMatch, QueryMatch
from gatewright_controller.model.policies import PolicyAttachment
from gatewright_controller.model.routing import Answer, OperationRedirect, Routing
from gatewright_controller.model.upstream import Upstream, Upstreams

AccessLog = Literal["all", "errors", "none"]
Matching = Literal["narrowest", "ordered"]
Method = Annotated[
    str,
    Meta(
        pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}$",
        extra_json_schema=expecting("a method such as GET or PURGE, or '*' for any"),
    ),
]
ApiVersion = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,30}[A-Za-z0-9])?$",
        extra_json_schema=expecting("a quoted version such as 'v1.0', of letters, digits, '.', '_' and '-'"),
    ),
]

AttachedName = Annotated[
    str,
    Meta(
        pattern=r"^[!-)+-~]{1,500}\*?$",
        extra_json_schema=expecting("the name of a route, or its beginning and '*'"),
    ),
]

MATCHES_FORM = {"x-cure": "its form is [{name: x-version, exact: '2'}]"}
Policies = Annotated[
    list[PolicyAttachment],
    Meta(extra_json_schema={"x-cure": "its form is [{name: set-headers, version: v1, params: {}}]"}),
]
OPERATIONS_FORM = {"x-cure": "its form is [{method: GET, path: /items}]"}


FORWARDING_FIELDS = (
    "listeners",
    "split",
    "mirror",
    "retries",
    "failover",
    "rewrite",
    "streamTimeout",
    "websocket",
    "redirect",
    "answer",
    "accessLog",
    "mapUpstreamPaths",
    "requestTimeout",
    "idleTimeout",
    "upstream",
)
"""Fields of APIs and operations that say what Envoy does with a request: an API with `attachTo` has none of them."""


class Operation(Routing, frozen=True):
    """One method at one path of the API, with its policies behind those of the API."""

    method: Method
    """`GET`, which answers HEAD too where no operation does; `PURGE` or any other token but CONNECT and TRACE, in this
    case; `*` for any of them without lower-case letters that has no operation of its own."""
    path: str
    """`/`, `/items`, `/{id}`, `/files/*`: under the context, by segments."""
    headers: Annotated[list[HeaderMatch], Meta(max_length=16, extra_json_schema=MATCHES_FORM)] = msgspec.field(
        default_factory=list
    )
    query: Annotated[list[QueryMatch], Meta(max_length=16, extra_json_schema=MATCHES_FORM)] = msgspec.field(
        default_factory=list
    )
    """What else a request has for it to be this operation's: all of them."""
    policies: Policies = msgspec.field(default_factory=list)
    request_timeout: Timeout | UnsetType = UNSET
    idle_timeout: Timeout | UnsetType = UNSET
    """Both overrule the API's own."""
    upstream: ResourceName | UnsetType = UNSET
    """The pool that requests go to; unset: as the API's `split` has it, else `main`."""
    redirect: OperationRedirect | UnsetType = UNSET
    answer: Answer | UnsetType = UNSET
    """With either of these nothing goes upstream."""


class ApiSpec(Routing, frozen=True, kw_only=True):
    """What an API is."""

    display_name: Text | UnsetType = UNSET
    version: ApiVersion
    context: str
    """`/orders/$version`: the prefix of all the API's paths; `$version` stands for `version`."""
    hosts: Annotated[list[str], Meta(max_length=100)] = msgspec.field(default_factory=list)
    """`shop.example`, `*.shop.example`: the hosts that the API is served on, at any port; none: on every one."""
    listeners: Annotated[list[ResourceName], Meta(max_length=100)] = msgspec.field(default_factory=list)
    """Names of the Gateway's listeners that serve the API, and no others do; none: all that are not `internal`."""
    nodes: Labels = msgspec.field(default_factory=dict)
    """`{zone: eu, tier: edge}`: the API runs on the nodes that have all of these labels; none: on every node."""
    attach_to: Annotated[list[AttachedName], Meta(max_length=100)] = msgspec.field(default_factory=list)
    """`[orders, httproute/shop/orders/*]`: names of routes of Envoys that others configure, which send the engine their
    requests. Then this gateway's own Envoy does not serve the API, and the other Envoy decides where requests go."""
    upstream: Upstreams | UnsetType = UNSET
    """The pools that requests go to. Only an API with `attachTo` has none."""
    policies: Policies = msgspec.field(default_factory=list)
    """API level: these run before the operation's own."""
    operations: Annotated[list[Operation], Meta(min_length=1, max_length=1000, extra_json_schema=OPERATIONS_FORM)]
    access_log: AccessLog = "all"
    """Which of its requests have a line in the node's access log: `all` of which the node writes a line (it may write
    one for a share of them), those of `errors` (answered with 500 and above), or `none`."""
    policies_choose_upstream: bool = True
    """Whether policies may choose another pool of the API for a request; `false`: that choice is a bad action."""
    encoded_responses: bool = False
    """An upstream may encode (gzip, br) responses that policies read, as the client accepts; they are decoded for the
    policies and encoded again for the client. `false`: the upstream is asked not to encode them."""
    matching: Matching = "narrowest"
    """Which of several operations that match has a request: the one with the narrowest path, then method, headers and
    query; `ordered`: the first in the file, each for its method alone, and where none matches the answer is 404."""
    strict_paths: bool = True
    """Requests with `;`, encoded slashes and doubly encoded characters in their paths are refused, and a slash at the
    end makes no other path."""
    map_upstream_paths: bool = False
    """Paths in an upstream's answers, in `location`, `content-location` and the `Path` of cookies, are mapped from the
    path at which it is asked to the API's context, so that redirects stay in the API."""
    request_timeout: Timeout | UnsetType = UNSET
    """Time an upstream has from the end of the request until its answer begins; unset: the operator's, 60s."""
    idle_timeout: Timeout | UnsetType = UNSET
    """Time without a byte in either direction after which an exchange ends; unset: the operator's, 60s, or as much more
    as the policies' timeouts and `requestTimeout` need."""

    @property
    def upstreams(self) -> dict[str, Upstream]:
        """The pools by their names; none of an API with `attachTo`."""
        return {} if self.upstream is UNSET else self.upstream


class Metadata(Strict, frozen=True):
    """What an API is called: its name is unique and does not change."""

    name: ResourceName
    labels: Labels = msgspec.field(default_factory=dict)
    """`{team: payments}`: what people and scripts find APIs by. Labels change nothing for a request."""


class Api(Strict, frozen=True):
    """One `Api` resource, as its publisher writes it."""

    api_version: Literal["gatewright.dev/v1"]
    kind: Literal["Api"]
    metadata: Metadata
    spec: ApiSpec


def to_document(api: Api) -> JsonObject:
    """The API as plain values, fields with their defaults left out."""
    document: JsonObject = msgspec.to_builtins(api)
    return document


def from_document(document: JsonObject) -> Api:
    """The inverse of `to_document`, for documents that were validated before."""
    return msgspec.convert(document, Api)
