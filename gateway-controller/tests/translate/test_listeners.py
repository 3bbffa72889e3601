"""Listeners, rendered: the default one, and what xds-protos does not know."""

from __future__ import annotations

from pathlib import Path
from string import Template

import pytest
import yaml
from gatewright_controller._gen import node_pb2
from gatewright_controller.gateway_file import effective, render
from gatewright_controller.translate.envoy.messages import LISTENER, document_of, message
from gatewright_documents.values import JsonObject
from google.protobuf.json_format import ParseError

BOOTSTRAP = Path(__file__).parents[3] / "gateway-runtime" / "envoy" / "bootstrap.yaml"
FIELDS = {
    "host": "127.0.0.1", "port": "8080", "access_log": "/dev/stdout", "access_log_sample": "1000000",
    "underscored_headers": "REJECT_REQUEST", "request_headers_timeout": "10s",
}  # fmt: skip


def rendered(document: JsonObject | None = None) -> list[JsonObject]:
    made = node_pb2.Gateway.FromString(render(effective(document, {}, {})))
    return [document_of(LISTENER, one) for one in made.listeners]


def test_the_default_listener_is_that_of_the_bootstrap() -> None:
    written = yaml.safe_load(Template(BOOTSTRAP.read_text()).safe_substitute(FIELDS))
    listeners = written["static_resources"].get("listeners")
    if not listeners:
        pytest.skip("the bootstrap has no listener any more")
    read = message(LISTENER, {**listeners[0], "name": "http"})
    assert rendered() == [document_of(LISTENER, read.SerializeToString(deterministic=True))]


def test_a_field_that_envoy_does_not_have_is_no_message() -> None:
    with pytest.raises(ParseError, match="no field named"):
        message(LISTENER, {"nam": "x"})
