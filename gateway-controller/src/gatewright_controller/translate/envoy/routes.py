"""Routes: what requests they match, and what becomes of those."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from typing import cast

import msgspec
from envoy.config.route.v3 import route_components_pb2
from envoy.extensions.filters.http.ext_proc.v3 import ext_proc_pb2, processing_mode_pb2
from envoy.extensions.filters.http.set_filter_state.v3 import set_filter_state_pb2
from envoy.extensions.filters.http.set_metadata.v3 import set_metadata_pb2
from envoy.extensions.retry.host.previous_hosts.v3 import previous_hosts_pb2
from envoy.type.matcher.v3 import regex_pb2, string_pb2
from envoy.type.v3 import percent_pb2
from google.protobuf import any_pb2, struct_pb2, wrappers_pb2
from msgspec.structs import asdict

from gatewright_controller._gen import envoy_names
from gatewright_controller.translate.envoy.attempts import Attempts, set_attempts
from gatewright_controller.translate.envoy.common import (
    PARTS_KEPT,
    EnvoyMessage,
    duration,
    header,
    packed_any,
    regex,
    struct,
)
from gatewright_controller.translate.envoy.matches import method_match
from gatewright_controller.translate.envoy.upstream_paths import UpstreamPaths

HOST_SELECTIONS = 20
"""How often another target is looked for than those that have failed, before one of these is asked again. Envoy draws
at random among targets with as few requests: of two, one in a million retries meets the same one."""


def narrowed(match: EnvoyMessage, *, millionths: int | None = None, websocket: bool = False) -> EnvoyMessage:
    """The same for a part of its requests, or for those that ask for a WebSocket.

    A request's number, which decides whether it is of a part, is the same for all routes that it is tried on.
    """
    part = route_components_pb2.RouteMatch()
    part.CopyFrom(match)
    if millionths is not None:
        part.runtime_fraction.default_value.CopyFrom(_fraction(millionths))
    if websocket:
        asked = string_pb2.StringMatcher(exact="websocket", ignore_case=True)
        part.headers.append(route_components_pb2.HeaderMatcher(name="upgrade", string_match=asked))
    return cast("EnvoyMessage", part)


def _fraction(millionths: int) -> EnvoyMessage:
    fraction = percent_pb2.FractionalPercent
    return cast("EnvoyMessage", fraction(numerator=millionths, denominator=fraction.MILLION))


class Websocket(msgspec.Struct, frozen=True):
    """Whether clients may upgrade to one. refused: why they may not, as the log says it; "" where nothing is said."""

    allowed: bool
    refused: str = ""


class Mirroring(msgspec.Struct, frozen=True):
    """A cluster that is sent copies of this part of requests."""

    cluster: str
    authority: str
    millionths: int


class Retrying(msgspec.Struct, frozen=True):
    """When a request is sent again. conditions: words of Envoy's `retry_on`, and statuses."""

    conditions: Sequence[str]
    statuses: Sequence[int]
    times: int
    methods: Sequence[str]
    base_ms: int
    longest_ms: int


class Choice(msgspec.Struct, frozen=True):
    """Which of the routes between which a policy's choice decides this one is."""

    route: str
    upstream: str


class Forward(msgspec.Struct, frozen=True):
    """To a cluster. `rewrite` is an RE2 pattern and its substitution for the path; None: the path stays."""

    cluster: str
    authority: str
    """"" is the one that the client has sent."""
    request_timeout_ms: int
    """From the end of the request until the response begins, each time that it is sent."""
    idle_timeout_ms: int
    """Without a byte in either direction."""
    rewrite: tuple[str, str] | None
    policies_choose_authority: bool
    """Whether `authority` is what goes upstream only as long as no policy chose another one."""
    websocket: Websocket
    stream_timeout_ms: int | None = None
    """For all of an exchange; None: any."""
    retries: Retrying | None = None
    mirrors: Sequence[Mirroring] = ()
    choice: Choice | None = None
    """None: policies choose no pool."""
    attempts: Attempts | None = None
    """In place of `cluster`, `authority`, `rewrite` to a base path, and `retries`: those of each attempt."""
    paths: UpstreamPaths | None = None
    """None: paths in the upstream's answers stay as they are."""


class Redirect(msgspec.Struct, frozen=True):
    """Where a client is sent; None: what it asked for stays. `path` is as a `Forward`'s rewrite."""

    status: int
    scheme: str | None
    host: str | None
    port: int | None
    path: tuple[str, str] | None


class Answer(msgspec.Struct, frozen=True):
    """What Envoy answers by itself."""

    status: int
    headers: Mapping[str, str]
    body: str = ""


class Problem(msgspec.Struct, frozen=True):
    """What Envoy refuses by itself: RFC 9457, with the request's id."""

    status: int
    title: str
    detail: str


class ExtProc(msgspec.Struct, frozen=True):
    """What of an exchange goes to the engine. Request headers always do: without them no chain is found."""

    request_body: bool
    response_headers: bool
    response_body: bool
    failure_mode_allow: bool


class Filters(msgspec.Struct, frozen=True):
    """What the node's filters do on a route. `ext_proc` None: nothing goes to the engine. access_log: "all", "errors"
    or "none", of requests that the route takes."""

    ext_proc: ExtProc | None
    access_log: str = "all"


def forwarding_route(name: str, match: EnvoyMessage, forward: Forward, filters: Filters) -> EnvoyMessage:
    """A route to a cluster, with the time that a request may take and the authority that the upstream is given."""
    route = _route(name, match, filters)
    to = route.route
    to.cluster = forward.cluster
    # Envoy's `timeout` cuts a response that is under way. The one for a try ends with the response's headers.
    to.timeout.CopyFrom(duration(0))
    to.retry_policy.per_try_timeout.CopyFrom(duration(forward.request_timeout_ms))
    to.idle_timeout.CopyFrom(duration(forward.idle_timeout_ms))
    if forward.stream_timeout_ms is not None:
        to.max_stream_duration.max_stream_duration.CopyFrom(duration(forward.stream_timeout_ms))
    if forward.retries:
        _retry(to.retry_policy, forward.retries)
    to.request_mirror_policies.extend(map(_mirror, forward.mirrors))
    _rewrite_authority(route, forward)
    if forward.choice:
        _let_policies_choose(route, forward.choice)
    if forward.websocket.allowed:
        to.upgrade_configs.add(upgrade_type="websocket")
    elif forward.websocket.refused:
        route.metadata.filter_metadata[envoy_names.UPGRADE_NAMESPACE].CopyFrom(
            struct({"refused": forward.websocket.refused})
        )
    _map_paths(route, forward)
    if forward.attempts:
        set_attempts(cast("EnvoyMessage", route), forward.attempts)
    return cast("EnvoyMessage", route)


def _rewrite_authority(route: route_components_pb2.Route, forward: Forward) -> None:
    to = route.route
    if not forward.policies_choose_authority:
        if forward.authority:
            to.host_rewrite_literal = forward.authority
    elif forward.authority:
        to.host_rewrite = _chosen_or_own_authority()
        route.metadata.filter_metadata[envoy_names.AUTHORITY_NAMESPACE].CopyFrom(_authority(forward.authority))
    else:
        to.host_rewrite = _chosen_or_clients_authority()


@lru_cache(maxsize=PARTS_KEPT)
def _authority(authority: str) -> struct_pb2.Struct:
    """What an upstream is given, unless a policy chooses another."""
    return struct({envoy_names.CHOSEN_VALUE_KEY: authority})


def _map_paths(route: route_components_pb2.Route, forward: Forward) -> None:
    """Of requests to the upstream's, and of what it answers back to the API's."""
    if forward.rewrite:
        _keep_path(route)
        _substitute(route.route.regex_rewrite, forward.rewrite)
    if forward.paths:
        route.metadata.filter_metadata[envoy_names.UPSTREAM_PATHS_FILTER].CopyFrom(struct(asdict(forward.paths)))


def _retry(policy: route_components_pb2.RetryPolicy, retries: Retrying) -> None:
    """The methods are looked at when the request goes upstream: a policy may have changed them."""
    conditions = [*retries.conditions, *(["retriable-status-codes"] if retries.statuses else [])]
    policy.retry_on = ",".join(conditions)
    policy.retriable_status_codes.extend(retries.statuses)
    policy.num_retries.value = retries.times
    policy.retriable_request_headers.append(method_match(retries.methods))
    policy.retry_back_off.base_interval.CopyFrom(duration(retries.base_ms))
    policy.retry_back_off.max_interval.CopyFrom(duration(retries.longest_ms))
    others = policy.retry_host_predicate.add(name="envoy.retry_host_predicates.previous_hosts")
    others.typed_config.CopyFrom(packed_any(cast("EnvoyMessage", previous_hosts_pb2.PreviousHostsPredicate())))
    policy.host_selection_retry_max_attempts = HOST_SELECTIONS


def _mirror(mirror: Mirroring) -> EnvoyMessage:
    policy = route_components_pb2.RouteAction.RequestMirrorPolicy(
        cluster=mirror.cluster, host_rewrite_literal=mirror.authority, disable_shadow_host_suffix_append=True
    )
    policy.runtime_fraction.default_value.CopyFrom(_fraction(mirror.millionths))
    policy.trace_sampled.value = False
    return cast("EnvoyMessage", policy)


def _let_policies_choose(route: route_components_pb2.Route, choice: Choice) -> None:
    metadata = struct({envoy_names.CHOICE_ROUTE_KEY: choice.route, envoy_names.CHOICE_UPSTREAM_KEY: choice.upstream})
    route.metadata.filter_metadata[envoy_names.CHOICE_FILTER].CopyFrom(metadata)
    enabled = set_filter_state_pb2.Config()  # the listener's own has what there is to do
    route.typed_per_filter_config[envoy_names.CHOICE_FILTER].CopyFrom(packed_any(cast("EnvoyMessage", enabled)))


def _substitute(into: regex_pb2.RegexMatchAndSubstitute, substitution: tuple[str, str]) -> None:
    into.pattern.CopyFrom(regex(substitution[0]))
    into.substitution = substitution[1]


@cache
def _chosen_or_own_authority() -> str:
    """A literal would overwrite what a policy set: Envoy rewrites hosts after all filters have run."""
    value = f"{envoy_names.AUTHORITY_NAMESPACE}:{envoy_names.CHOSEN_VALUE_KEY}"
    return coalesced("METADATA", f"DYNAMIC:{value}", "METADATA", f"ROUTE:{value}")


@cache
def _chosen_or_clients_authority() -> str:
    value = f"{envoy_names.AUTHORITY_NAMESPACE}:{envoy_names.CHOSEN_VALUE_KEY}"
    return coalesced("METADATA", f"DYNAMIC:{value}", "REQ", ":authority")


def coalesced(*commands: str) -> str:
    """What the first of the commands, each with its parameter, gives that gives anything."""
    operators = [
        {"command": command, "param": param} for command, param in zip(commands[::2], commands[1::2], strict=True)
    ]
    return f"%COALESCE({json.dumps({'operators': operators})})%"


def redirecting_route(name: str, match: EnvoyMessage, redirect: Redirect, filters: Filters) -> EnvoyMessage:
    """A route that sends clients elsewhere, after the policies of its chain."""
    route = _route(name, match, filters)
    action = route_components_pb2.RedirectAction
    codes = {
        301: action.MOVED_PERMANENTLY, 302: action.FOUND, 303: action.SEE_OTHER,
        307: action.TEMPORARY_REDIRECT, 308: action.PERMANENT_REDIRECT,
    }  # fmt: skip
    to = route.redirect
    to.response_code = codes[redirect.status]
    if redirect.scheme:
        to.scheme_redirect = redirect.scheme
    if redirect.host:
        to.host_redirect = redirect.host
    if redirect.port:
        to.port_redirect = redirect.port
    if redirect.path:
        _keep_path(route)
        _substitute(to.regex_rewrite, redirect.path)
    return cast("EnvoyMessage", route)


def answering_route(name: str, match: EnvoyMessage, answer: Answer, filters: Filters) -> EnvoyMessage:
    """A route that Envoy answers itself, after the policies of its chain."""
    route = _route(name, match, filters)
    route.direct_response.status = answer.status
    if answer.body:
        route.direct_response.body.inline_string = answer.body
    pairs = sorted(answer.headers.items())
    route.response_headers_to_add.extend(header(name, value.replace("%", "%%")) for name, value in pairs)
    return cast("EnvoyMessage", route)


def refusing_route(name: str, match: EnvoyMessage, problem: Problem, filters: Filters) -> EnvoyMessage:
    """A route that Envoy answers itself with a problem."""
    route = _route(name, match, filters)
    route.direct_response.CopyFrom(_refusal(problem))
    return cast("EnvoyMessage", route)


@lru_cache(maxsize=PARTS_KEPT)
def _refusal(problem: Problem) -> route_components_pb2.DirectResponseAction:
    refusal = route_components_pb2.DirectResponseAction(status=problem.status)
    shown = {
        "type": "about:blank",
        "title": problem.title,
        "detail": problem.detail,
        "requestId": "%REQ(X-REQUEST-ID)%",
    }
    refusal.body_format.json_format.update({**shown, "status": problem.status})
    refusal.body_format.content_type = "application/problem+json"
    return refusal


def _route(name: str, match: EnvoyMessage, filters: Filters) -> route_components_pb2.Route:
    route = route_components_pb2.Route(name=name, match=match)
    if filters.ext_proc:
        route.typed_per_filter_config[envoy_names.EXT_PROC_FILTER].CopyFrom(_per_route(filters.ext_proc))
        _keep_path(route)
    if filters.access_log != "all":
        route.typed_per_filter_config[envoy_names.ACCESS_LOG_FILTER].CopyFrom(
            packed_any(_access_log(filters.access_log))
        )
    return route


def _keep_path(route: route_components_pb2.Route) -> None:
    """What there is to keep is the filter's own to say: it is enabled, and given no settings of the route."""
    route.typed_per_filter_config[envoy_names.LOGGED_PATH_FILTER].CopyFrom(_enabled())


@cache
def _enabled() -> any_pb2.Any:
    enabled = route_components_pb2.FilterConfig()
    enabled.config.SetInParent()
    return packed_any(cast("EnvoyMessage", enabled))


def _access_log(lines: str) -> EnvoyMessage:
    metadata = set_metadata_pb2.Metadata(
        metadata_namespace=envoy_names.ACCESS_LOG_FILTER, value=struct({"lines": lines})
    )
    return cast("EnvoyMessage", set_metadata_pb2.Config(metadata=[metadata]))


@cache
def _per_route(ext_proc: ExtProc) -> any_pb2.Any:
    mode = processing_mode_pb2.ProcessingMode
    body = {True: mode.FULL_DUPLEX_STREAMED, False: mode.NONE}
    send = {True: mode.SEND, False: mode.SKIP}
    wanted = mode(
        request_header_mode=mode.SEND,
        request_body_mode=body[ext_proc.request_body],
        request_trailer_mode=send[ext_proc.request_body],
        response_header_mode=send[ext_proc.response_headers or ext_proc.response_body],
        response_body_mode=body[ext_proc.response_body],
        response_trailer_mode=send[ext_proc.response_body],
    )
    overrides = ext_proc_pb2.ExtProcOverrides(
        processing_mode=wanted, failure_mode_allow=wrappers_pb2.BoolValue(value=ext_proc.failure_mode_allow)
    )
    return packed_any(cast("EnvoyMessage", ext_proc_pb2.ExtProcPerRoute(overrides=overrides)))
