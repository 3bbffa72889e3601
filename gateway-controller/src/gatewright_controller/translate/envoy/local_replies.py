"""What Envoy answers by itself, in the form that the engine's own answers have: application/problem+json.

Mappers are tried in order. By response flag: an immediate response of a policy has one only where it takes the place of
an answer of Envoy's, and details of its own.
"""

from __future__ import annotations

from gatewright_documents.values import JsonObject

from gatewright_controller._gen import envoy_names
from gatewright_controller.translate.envoy.messages import typed

TWO_HOSTS: JsonObject = {"name": ":authority", "string_match": {"contains": ","}}
"""Envoy joins two Host headers into one; RFC 9112, 3.2 wants such a request refused. The first of all routes does that:
internal/xds/host_front.go."""

NO_ROUTE = "There is no such route."
"""What a client is told whose request matches no route; the engine says it where operations share a route."""

FACTS = ("RESPONSE_FLAGS", "RESPONSE_CODE_DETAILS", "UPSTREAM_HOST", "UPSTREAM_TRANSPORT_FAILURE_REASON")
"""The values of the header that reports an answer to the engine, behind the token, in this order. Only the engine and
Envoy know the token, for the engine removes the header (internal/extproc/proxy_answer.go)."""

OF_THE_ENGINE = (
    envoy_names.POLICY_DETAILS_PREFIX,
    envoy_names.HEADERS_TOO_LARGE_DETAILS,
    envoy_names.REQUEST_TIMEOUT_DETAILS,
    "ext_proc_error",
    "header_mutation_",
)
"""Prefixes of the details of answers that may take the place of one of Envoy's: the engine's, and Envoy's for it.

They have its flags, too, and are not reported to the engine."""

CEL = "extensions.access_loggers.filters.cel.v3.ExpressionFilter"


def cel(expression: str) -> JsonObject:
    """A filter of exchanges by an expression."""
    return {
        "extension_filter": {
            "name": "envoy.access_loggers.extension_filters.cel",
            "typed_config": typed(CEL, expression=expression),
        }
    }


def local_reply_config(*, hosts: bool, groups: bool, rate: bool) -> JsonObject:
    """hosts: whether the listener has hosts of its own. groups: whether these ask for several kinds of client
    certificates. rate: whether the rate of requests is limited."""
    shown_to_engine = map(_report_to_engine, [*_of_upstreams(), _too_long(), _configured()])
    return {"mappers": [*_of_hosts(hosts, groups), *_of_rate(rate), *shown_to_engine, *_by_flag(), *_by_details()]}


def _report_to_engine(mapper: JsonObject) -> JsonObject:
    """The mapper for watched exchanges: it adds the header that reports the answer to the engine."""
    token = {
        "filter": envoy_names.WATCHED_NAMESPACE,
        "path": [{"key": envoy_names.WATCHED_TOKEN_KEY}],
        "value": {"present_match": True},
    }
    watched = {"metadata_filter": {"matcher": token, "match_if_key_not_found": False}}
    value = " ".join(
        [
            f"%DYNAMIC_METADATA({envoy_names.WATCHED_NAMESPACE}:{envoy_names.WATCHED_TOKEN_KEY})%",
            *(f"%{fact}%" for fact in FACTS),
        ]
    )
    return mapper | {
        "filter": {"and_filter": {"filters": [watched, mapper["filter"]]}},
        "headers_to_add": [*mapper.get("headers_to_add", []), _header(envoy_names.PROXY_ANSWER_HEADER, value)],
    }


def _configured() -> JsonObject:
    """Of answers that an operation configures: `answer`, `redirect`."""
    return {"filter": cel("response.code_details == 'direct_response'")}


def _of_hosts(hosts: bool, groups: bool) -> list[JsonObject]:
    two = {"header_filter": {"header": TWO_HOSTS}}
    found = [_problem(two, "Bad Request", "The request has two Host headers.") | {"status_code": 400}]
    if hosts:
        found.append(
            _misdirected(envoy_names.OTHER_HOSTS_RULE, "This listener does not serve the host that the request is for.")
        )
    if groups:
        detail = (
            "The host that the request is for asks for other client certificates than the server name (SNI) of this "
            "connection: the client must open a connection whose server name is that host."
        )
        found.append(_misdirected(envoy_names.OTHER_SERVER_NAMES_RULE, detail))
    return found


def _misdirected(rule: str, detail: str) -> JsonObject:
    refused = cel(f"response.code_details.startsWith('rbac_access_denied_matched_policy[{rule}]')")
    return _problem(refused, "Misdirected Request", detail) | {"status_code": 421}


def _of_rate(rate: bool) -> list[JsonObject]:
    sentence = "More requests have come on this connection than it may make in a second."
    refused = cel("response.code_details == 'local_rate_limited'")  # its flag is set when the answer has been made
    return [_retried(_problem(refused, "Too Many Requests", sentence))] if rate else []


def _by_flag() -> list[JsonObject]:
    refused = {"header_filter": {"header": {"name": ":method", "present_match": False}}}
    before = _problem(refused, "%LOCAL_REPLY_BODY%", "The request was refused before it was read.", request=False)
    return [
        _problem(_flags("NR"), "Not Found", NO_ROUTE),
        *_of_upstreams(),
        before,  # what is refused before it is a request (400, 426, 431) has no flag yet, and no method
        _problem(_flags("DPE"), "Bad Request", "The request is malformed."),
        _retried(_problem(_flags("OM"), "Service Unavailable", "The gateway is overloaded.")),
    ]


def _of_upstreams() -> list[JsonObject]:
    """Of requests that had a route, and policies if that has a chain."""
    malformed = "The upstream's response is malformed, or its headers are too many or too large."
    full = "The upstream has as many requests as it is given at once."
    away = ("UH", "UF", "NC", "LH", "UC", "LR", "UR", "URX", "DF")
    return [
        _problem(_flags("UT"), "Gateway Timeout", "The upstream did not answer in time."),
        # 408 where the request had not come in whole, else 504.
        _problem(_flags("SI"), "Timeout", "Nothing has moved for longer than the idle timeout."),
        _problem(_flags("UPE"), "Bad Gateway", malformed),
        _retried(_problem(_flags("UO"), "Service Unavailable", full)),  # a circuit breaker of the API's pool
        _problem(_flags(*away), "Service Unavailable", "The upstream is not available."),
    ]


def _too_long() -> JsonObject:
    """408 or 504, as with the idle timeout."""
    return _problem(
        cel("response.code_details == 'max_duration_timeout'"), "Timeout", "The exchange took longer than it may."
    )


def _by_details() -> list[JsonObject]:
    """Of answers without a flag. Those of the engine and its policies have details of their own."""
    away = cel("response.code_details.matches('^(ext_proc_error|header_mutation_)')")
    route, refusal = envoy_names.ROUTE_NAME_ATTRIBUTE, "405".join([envoy_names.ROUTE_NAME_SEPARATOR] * 2)
    # Not one that an API answers by itself.
    method = cel(f"response.code_details == 'direct_response' && {route}.endsWith('{refusal}')")
    upgrade = cel("response.code_details == 'upgrade_failed'")
    details = "^(missing_host_header|path_normalization_failed|http[123][.])"
    malformed = cel(f"response.code == 400 && response.code_details.matches('{details}')")
    sentence = "The request is malformed: its host, its path or its body."
    return [
        # The engine is away, or has failed: its own errors come as immediate responses, with other details.
        _retried(_problem(away, "Service Unavailable", "The policies of the gateway are not available.")),
        _without_empty(_problem(method, "Method Not Allowed", "Allow names the methods of this path.")),
        _too_long(),
        _without_empty(_problem(upgrade, "Forbidden", "No connection is upgraded to this protocol here.")),
        _without_empty(_problem(malformed, "Bad Request", sentence)),
    ]


def _flags(*flags: str) -> JsonObject:
    """Of an answer of Envoy's, and of none that has taken its place."""
    envoys_own = cel(" && ".join(f"!response.code_details.startsWith('{prefix}')" for prefix in OF_THE_ENGINE))
    return {"and_filter": {"filters": [{"response_flag_filter": {"flags": list(flags)}}, envoys_own]}}


def _problem(chosen: JsonObject, title: str, detail: str, *, request: bool = True) -> JsonObject:
    """request: whether there is one already, that has an id."""
    members = {"type": "about:blank", "title": title, "detail": detail, "status": "%RESPONSE_CODE%"}
    named = {"requestId": "%REQ(X-REQUEST-ID)%"} if request else {}
    body = {"content_type": "application/problem+json", "json_format": members | named}
    return {"filter": chosen, "body_format_override": body}


def _without_empty(mapper: JsonObject) -> JsonObject:
    """The mapper, whose members without a value are left out: not all of these exchanges have an id."""
    return mapper | {"body_format_override": mapper["body_format_override"] | {"omit_empty_values": True}}


def _retried(mapper: JsonObject) -> JsonObject:
    return mapper | {"headers_to_add": [_header("retry-after", "1")]}


def _header(name: str, value: str) -> JsonObject:
    return {"header": {"key": name, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
