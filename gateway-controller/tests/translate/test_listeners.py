"""Rendered listeners: the default one, and fields that xds-protos does not have."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from gatewright_controller._gen import node_pb2
from gatewright_controller.gateway.gateway_file import effective, render
from gatewright_controller.translate.envoy.messages import LISTENER, document_of, message
from gatewright_documents.values import JsonObject
from google.protobuf.json_format import ParseError

from .goldens import ordered

DEFAULT = Path(__file__).parents[3] / "gateway-runtime" / "envoy" / "listener.json"


def rendered(document: JsonObject | None = None) -> list[JsonObject]:
    made = node_pb2.Gateway.FromString(render(effective(document, {}, {})))
    return [document_of(LISTENER, listener) for listener in made.listeners]


def test_the_default_listener_is_the_one_that_tests_and_measurements_give_envoy(request: pytest.FixtureRequest) -> None:
    (made,) = rendered()
    if request.config.getoption("--update"):
        DEFAULT.write_text(json.dumps(ordered(made), indent=2) + "\n")
    assert json.loads(DEFAULT.read_text()) == made


def test_a_field_that_envoy_does_not_have_is_no_message() -> None:
    with pytest.raises(ParseError, match="no field named"):
        message(LISTENER, {"nam": "x"})


def test_the_same_gateway_is_the_same_bytes_in_any_process() -> None:
    """Maps of protobuf have an order of their own in each process, and what an Any holds is bytes."""
    code = "from gatewright_controller.gateway.gateway_file import *; print(render(effective({}, {}, {})).hex())"
    outputs = {subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout for _ in range(3)}
    assert len(outputs) == 1
