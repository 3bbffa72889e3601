"""Which timeouts an operation has: its own, its API's, the operator's; the idle one leaves room for the others."""

from __future__ import annotations

from typing import Any

import pytest
from envoy.config.route.v3 import route_components_pb2
from gatewright_controller.resource.definitions import Definitions
from gatewright_controller.translate import EdgeSettings, translate
from gatewright_controller.validation import validate
from gatewright_documents.values import JsonObject

DEFAULTS = EdgeSettings()
POLICY = {"name": "log-message", "version": "v1", "timeout": "3s"}

STREAM = {"name": "mask-stream", "version": "v1", "timeout": "3s", "streamIdleTimeout": "5s"}
"""It is called with the headers, and then with the stream: it may take its time twice before anything moves."""

RETRIES = {"attempts": 3, "backOff": {"base": "100ms", "max": "1s"}}
"""Two waits of a second at most, between three tries."""


def timeouts(
    definitions: Definitions, spec: JsonObject, operation: JsonObject, edge: EdgeSettings = DEFAULTS
) -> tuple[float, float]:
    """requestTimeout and idleTimeout in seconds, as the first route has them."""
    document: JsonObject = {
        "apiVersion": "gatewright.dev/v1", "kind": "Api", "metadata": {"name": "a"},
        "spec": {"version": "v1", "context": "/a", "upstream": {"main": {"url": "http://u.internal"}},
                 "operations": [{"method": "GET", "path": "/", **operation}], **spec},
    }  # fmt: skip
    made = translate(validate(document, definitions, {}), definitions, edge).message
    action: Any = route_components_pb2.Route.FromString(made.routes[0]).route
    assert action.timeout.ToMilliseconds() == 0
    per_try = action.retry_policy.per_try_timeout
    return per_try.ToMilliseconds() / 1000, action.idle_timeout.ToMilliseconds() / 1000


@pytest.mark.parametrize(("spec", "operation", "expected"), [
    ({}, {}, (60, 60)),
    ({"requestTimeout": "5s", "idleTimeout": "90s"}, {}, (5, 90)),
    ({"requestTimeout": "5s", "idleTimeout": "90s"}, {"requestTimeout": "7s"}, (7, 90)),
    ({"requestTimeout": "5s", "idleTimeout": "90s"}, {"idleTimeout": "500s"}, (5, 500)),
    ({"requestTimeout": "300s"}, {}, (300, 300)),
    ({"idleTimeout": "10s"}, {}, (10, 10)),
    ({"policies": [POLICY]}, {}, (60, 63)),
    ({"policies": [POLICY]}, {"policies": [POLICY], "idleTimeout": "10s"}, (4, 10)),
    ({"policies": [POLICY], "requestTimeout": "7s"}, {"idleTimeout": "10s"}, (7, 10)),
    ({"policies": [STREAM]}, {}, (60, 66)),
    ({"policies": [STREAM]}, {"idleTimeout": "10s"}, (4, 10)),
    ({"requestTimeout": "40s"}, {"retries": RETRIES}, (40, 122)),
    ({"requestTimeout": "40s"}, {"retries": {**RETRIES, "perTryTimeout": "30s"}}, (30, 92)),
    ({"idleTimeout": "47s"}, {"retries": RETRIES}, (15, 47)),
])  # fmt: skip
def test_whose_timeouts_count(
    definitions: Definitions, spec: JsonObject, operation: JsonObject, expected: tuple[float, float]
) -> None:
    assert timeouts(definitions, spec, operation) == expected


def test_the_operator_decides_for_apis_that_do_not_say(definitions: Definitions) -> None:
    assert timeouts(definitions, {}, {}, EdgeSettings(2000, 9000)) == (2, 9)
    assert timeouts(definitions, {}, {"policies": [POLICY]}, EdgeSettings(8000, 9000)) == (8, 11)
    assert timeouts(definitions, {"idleTimeout": "20s"}, {}, EdgeSettings(2000)) == (2, 20)
