"""The access log by which Envoy reports to the engine the exchanges that it has answered by itself.

The engine counts them, and records those that it has not seen, on routes without policies or without a route, where a
recording asks for them. A request that an upstream answers well costs Envoy a look at its status and flags.
internal/accesslog reads all of it.
"""

from __future__ import annotations

from gatewright_documents.values import JsonObject

from gatewright_controller._gen import envoy_names
from gatewright_controller.translate.envoy.access_logs import OPERATORS, all_of, any_of
from gatewright_controller.translate.envoy.local_replies import cel
from gatewright_controller.translate.envoy.traces import grpc_log

FLAGS = ("NR", "UH", "UF", "UO", "UT", "UC", "UR", "UPE", "LR", "LH", "URX", "NC", "DF", "DPE", "DT", "SI", "OM")
"""Of answers that Envoy makes, and of those of upstreams that it cuts off; not of clients that leave."""

BEFORE_POLICIES = ("rbac_", "local_rate_limited", "ext_proc_error")
"""Prefixes of the details of answers that Envoy makes before the policies of a route have run, or in their place."""

TAGS = {
    envoy_names.METHOD_TAG: OPERATORS["method"],
    envoy_names.PATH_TAG: OPERATORS["path"],
    envoy_names.AUTHORITY_TAG: OPERATORS["authority"],
    envoy_names.FLAGS_TAG: OPERATORS["flags"],
}
"""Beside what such a log has by itself: internal/accesslog/answers.go."""


def answers_log(listener: str) -> JsonObject:
    """The access log of Envoy's own answers at the listener of this name. Those without a flag are looked at where the
    engine has not seen them."""
    at_least_400 = {
        "comparison": {"op": "GE", "value": {"default_value": 400, "runtime_key": envoy_names.ANSWERS_STATUS_KEY}}
    }
    route = envoy_names.ROUTE_NAME_ATTRIBUTE
    chainless = f"{route} == '' || {route}.endsWith('{envoy_names.ROUTE_NAME_SEPARATOR}')"
    before = " || ".join(f"response.code_details.startsWith('{prefix}')" for prefix in BEFORE_POLICIES)
    unseen = cel(f"response.code_details != 'via_upstream' && ({chainless} || {before})")
    unflagged = all_of({"status_code_filter": at_least_400}, any_of(unseen, _refused_by_engine()))
    wanted = any_of({"response_flag_filter": {"flags": list(FLAGS)}}, unflagged)
    return grpc_log(envoy_names.ANSWERS_LOG, {**TAGS, envoy_names.LISTENER_TAG: listener}) | {"filter": wanted}


def _refused_by_engine() -> JsonObject:
    """Whether the engine has refused a request on a route that operations share: the name that it says has no chain."""
    matcher = {
        "filter": envoy_names.ROUTE_NAMESPACE,
        "path": [{"key": envoy_names.ROUTE_NAME_KEY}],
        "value": {"string_match": {"suffix": envoy_names.ROUTE_NAME_SEPARATOR}},
    }
    return {"metadata_filter": {"matcher": matcher, "match_if_key_not_found": False}}
