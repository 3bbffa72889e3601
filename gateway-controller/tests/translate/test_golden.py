"""Golden pairs: NAME.in.yaml is an API, NAME.out.yaml its bundle, readable. `--update` rewrites the latter."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.route.v3 import route_components_pb2
from envoy.extensions.filters.http.ext_proc.v3 import ext_proc_pb2  # noqa: F401 - Any needs it to be known
from envoy.extensions.filters.http.set_filter_state.v3 import set_filter_state_pb2  # noqa: F401
from envoy.extensions.filters.http.set_metadata.v3 import set_metadata_pb2  # noqa: F401
from envoy.extensions.retry.host.previous_hosts.v3 import previous_hosts_pb2  # noqa: F401
from envoy.extensions.transport_sockets.tls.v3 import tls_pb2  # noqa: F401
from gatewright_controller._gen import node_pb2
from gatewright_controller.definitions import Definitions
from gatewright_controller.translate import EdgeSettings, translate
from gatewright_controller.validation import validate
from gatewright_documents.values import JsonObject
from gatewright_documents.yaml_reader import parse_yaml
from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message

GOLDEN = Path(__file__).parent.parent / "testdata" / "golden"


def readable(bundle: node_pb2.ApiBundle) -> JsonObject:
    shown = plain(bundle)
    shown["routes"] = [plain(route_components_pb2.Route.FromString(route)) for route in bundle.routes]
    if bundle.chosen_routes:
        shown["chosen_routes"] = [plain(route_components_pb2.Route.FromString(one)) for one in bundle.chosen_routes]
    shown["clusters"] = [plain(cluster_pb2.Cluster.FromString(cluster)) for cluster in bundle.clusters]
    for chain, message in zip(shown.get("chains", []), bundle.chains, strict=True):
        for attachment, sent in zip(chain["attachments"], message.attachments, strict=True):
            attachment["parameters"] = json.loads(sent.parameters)
            attachment["system_parameters"] = json.loads(sent.system_parameters)
    return shown


def plain(message: Message) -> JsonObject:
    shown: JsonObject = json.loads(MessageToJson(message, preserving_proto_field_name=True))
    return shown


@pytest.mark.parametrize("source", sorted(GOLDEN.glob("*.in.yaml")), ids=lambda path: path.name)
def test_golden(source: Path, definitions: Definitions, request: pytest.FixtureRequest) -> None:
    api = validate(parse_yaml(source.read_bytes()), definitions, {})
    made = readable(translate(api, definitions, EdgeSettings()).message)
    golden = source.with_name(source.name.replace(".in.", ".out."))
    if request.config.getoption("--update"):
        golden.write_text(yaml.safe_dump(made, sort_keys=False, width=120))
    assert made == yaml.safe_load(golden.read_text())
