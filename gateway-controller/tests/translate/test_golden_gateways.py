"""Gateways. Golden pairs: NAME.in.yaml is a Gateway, NAME.out.yaml what a node is sent. `--update` rewrites the latter.

The real Envoy reads what is rendered as a node would send it, byte for byte.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest
import yaml
from envoy.config.bootstrap.v3 import bootstrap_pb2
from gatewright_controller._gen import node_pb2
from gatewright_controller.gateway_file import effective, render
from gatewright_controller.translate.envoy.messages import LISTENER, document_of
from gatewright_documents.values import JsonObject, JsonValue
from gatewright_documents.yaml_reader import parse_yaml
from google.protobuf.json_format import MessageToJson, ParseDict

pytestmark = pytest.mark.timeout(120)
GOLDEN = Path(__file__).parent.parent / "testdata" / "gateways" / "golden"
DEFAULT = GOLDEN / "default.in.yaml"
HTTP2 = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def rendered(source: Path) -> node_pb2.Gateway:
    return node_pb2.Gateway.FromString(render(effective(parse_yaml(source.read_bytes()), {}, {})))


def readable(gateway: node_pb2.Gateway, source: Path) -> JsonObject:
    """The default Gateway whole, and of others what is not as there."""
    shown: JsonObject = json.loads(MessageToJson(gateway, preserving_proto_field_name=True))
    listeners = [document_of(LISTENER, one) for one in gateway.listeners]
    if source != DEFAULT:
        usual = document_of(LISTENER, rendered(DEFAULT).listeners[0])
        listeners = [unusual(one, usual) for one in listeners]
    return {**shown, "listeners": listeners}


def unusual(value: JsonValue, usual: JsonValue) -> JsonValue:
    """What differs: of objects their keys, null where one is missing; of lists the items, "…" for one that is usual.
    Chains are compared with the usual one, other items with those of their names."""
    if isinstance(value, dict) and isinstance(usual, dict):
        changed = {key: unusual(item, usual.get(key)) for key, item in value.items() if item != usual.get(key)}
        return changed | {key: None for key in usual if key not in value}
    if isinstance(value, list) and isinstance(usual, list) and usual and isinstance(usual[0], dict):
        named = {one.get("name", at): one for at, one in enumerate(usual)}
        twins = [usual[0] if "filters" in one else named.get(one.get("name", "")) for one in value]
        pairs = zip(value, twins, strict=True)
        return ["…" if one in usual else unusual(one, twin) for one, twin in pairs]
    return value


@pytest.mark.parametrize("source", sorted(GOLDEN.glob("*.in.yaml")), ids=lambda path: path.name)
def test_golden(source: Path, request: pytest.FixtureRequest) -> None:
    made = readable(rendered(source), source)
    golden = source.with_name(source.name.replace(".in.", ".out."))
    if request.config.getoption("--update"):
        golden.write_text(yaml.safe_dump(made, sort_keys=False, width=120, allow_unicode=True))
    assert made == yaml.safe_load(golden.read_text())


def cluster(name: str) -> JsonObject:
    options = {"@type": f"type.googleapis.com/{HTTP2}", "explicit_http_config": {"http2_protocol_options": {}}}
    return {"name": name, "type": "STATIC", "typed_extension_protocol_options": {HTTP2: options}}


def envoys_opinion(listeners: Iterable[bytes], folder: Path) -> str:
    """What `envoy --mode validate` has to say against the listeners; empty if nothing. One bootstrap holds them all,
    so each has another name and port there."""
    stream = {"envoy_grpc": {"cluster_name": "gatewright_xds"}}
    base = {
        "node": {"id": "test", "cluster": "test"},
        "dynamic_resources": {"ads_config": {"api_type": "DELTA_GRPC", "grpc_services": [stream]}},
        "static_resources": {"clusters": [cluster("gatewright_xds"), cluster("gatewright_policy_engine")]},
    }
    bootstrap = ParseDict(base, bootstrap_pb2.Bootstrap())
    for at, one in enumerate(listeners):
        added = bootstrap.static_resources.listeners.add()
        added.MergeFromString(one)
        added.name = f"{added.name}-{at}"
        added.address.socket_address.port_value = 20_000 + at
    file = folder / "envoy.pb"
    file.write_bytes(bootstrap.SerializeToString())
    command = ["envoy", "-c", str(file), "--use-dynamic-base-id", "--concurrency", "1", "-l", "error"]
    done = subprocess.run([*command, "--mode", "validate"], capture_output=True, text=True, timeout=60, check=False)
    return done.stdout + done.stderr if done.returncode else ""


def test_envoy_accepts_all_that_we_render(tmp_path: Path) -> None:
    gateways = [rendered(source) for source in sorted(GOLDEN.glob("*.in.yaml"))]
    assert envoys_opinion([one for gateway in gateways for one in gateway.listeners], tmp_path) == ""


def test_envoy_says_what_it_does_not_accept(tmp_path: Path) -> None:
    """That the test above can fail, for what stands deep inside of a listener too."""
    listener = rendered(GOLDEN / "default.in.yaml").listeners[0]
    worse = listener.replace(b"response.code == 400", b"response.code == 4(0")
    assert "4(0" in envoys_opinion([worse], tmp_path)
