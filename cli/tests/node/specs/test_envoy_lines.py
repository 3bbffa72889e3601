from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from gatewright_cli.node.specs.processes import ENVOY_LOG, ENVOY_UNSHOWN
from gatewright_cli.run.preflight import find_envoy
from gatewright_cli.supervision.child import Child
from gatewright_cli.supervision.probes import Accepts
from gatewright_cli.supervision.specs import ProcessSpec

if TYPE_CHECKING:
    from cli.tests.conftest import Bench

HTTP = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
KNOWN = "field 'envoy.config.core.v3.Http1ProtocolOptions.allow_custom_methods' is marked as work-in-progress. "
DEPRECATED = "Using deprecated option 'envoy.config.cluster.v3.Cluster.http2_protocol_options'"


def bootstrap() -> dict[str, Any]:
    """With the work-in-progress field that listeners need, and a deprecated one."""
    manager = {
        "@type": f"type.googleapis.com/{HTTP}",
        "stat_prefix": "x",
        "http_protocol_options": {"allow_custom_methods": True},
        "route_config": {},
        "http_filters": [],
    }
    listener = {
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    return {"static_resources": {"listeners": [listener], "clusters": [{"name": "c", "http2_protocol_options": {}}]}}


def validated(bench: Bench, tmp_path: Path, *unshown: bytes) -> list[str]:
    """Envoy's log lines on it that are passed on."""
    file = tmp_path / "bootstrap.json"
    file.write_text(json.dumps(bootstrap()))
    command = (str(find_envoy()), "--mode", "validate", "-c", str(file), "-l", "warning", "--log-format", ENVOY_LOG)
    lines: list[bytes] = []

    async def live() -> None:
        await Child(replace(ProcessSpec("envoy", command, Accepts()), unshown=unshown), lines.extend).exited

    bench.run(live())
    return [json.loads(line)["message"] for line in lines if line.startswith(b"{")]


def test_a_field_that_we_use_knowingly_is_no_warning_and_other_fields_are(bench: Bench, tmp_path: Path) -> None:
    every = validated(bench, tmp_path)
    shown = validated(bench, tmp_path, *ENVOY_UNSHOWN)
    assert any(line.startswith(KNOWN) for line in every), "Envoy no longer says this: take it out of ENVOY_UNSHOWN"
    assert shown == [line for line in every if not line.startswith(KNOWN)]
    assert any(DEPRECATED in line for line in shown)


@pytest.mark.parametrize(
    "message",
    [
        KNOWN.replace("allow_custom_methods", "another_field"),
        f"Unknown field: {KNOWN}",
        f'path /"component":"envoy","message":"{KNOWN}',  # what a client writes hides no line
    ],
)
def test_no_other_line_is_left_out(message: str) -> None:
    line = json.dumps({"component": "envoy", "message": message}, separators=(",", ":")).encode()
    assert not any(part in line for part in ENVOY_UNSHOWN)
    known = json.dumps({"component": "envoy", "message": KNOWN}, separators=(",", ":")).encode()
    assert any(part in known for part in ENVOY_UNSHOWN)
