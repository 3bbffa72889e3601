"""Goldens of bundles: NAME.in.yaml is an API, NAME.PART.yaml the part of its bundle that the input is about.

`whole.bundle.yaml` is a bundle in full, and has every default. Parts show only how they differ from it, and "…" in the
place of ids. For a new one write an empty file; `--update` fills it, and removes those that have nothing to show.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.route.v3 import route_components_pb2
from envoy.extensions.filters.http.ext_proc.v3 import ext_proc_pb2  # noqa: F401 - Any needs it to be known
from envoy.extensions.filters.http.set_filter_state.v3 import set_filter_state_pb2  # noqa: F401
from envoy.extensions.filters.http.set_metadata.v3 import set_metadata_pb2  # noqa: F401
from envoy.extensions.retry.host.previous_hosts.v3 import previous_hosts_pb2  # noqa: F401
from envoy.extensions.transport_sockets.tls.v3 import tls_pb2  # noqa: F401
from gatewright_controller.resource.definitions import Definitions
from gatewright_controller.translate import EdgeSettings, translate
from gatewright_controller.validation import validate
from gatewright_documents.values import JsonObject, JsonValue
from gatewright_documents.yaml_reader import parse_yaml
from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message

from .goldens import check, differences, read_golden

GOLDEN = Path(__file__).parent.parent / "testdata" / "golden"
WHOLE = GOLDEN / "whole.bundle.yaml"
PARTS = ("first_route", "routes", "chosen_routes", "clusters", "chains", "operations")
INPUTS = sorted(GOLDEN.glob("*.in.yaml"))
ID = re.compile(r"\b[0-9a-f]{32,64}\b")


def goldens() -> list[Path]:
    """The goldens that show a part."""
    return sorted(set(GOLDEN.glob("*.yaml")) - {WHOLE, *INPUTS})


def readable(source: Path, definitions: Definitions) -> JsonObject:
    """The bundle of an API, with the messages that it holds as bytes."""
    api = validate(parse_yaml(source.read_bytes()), definitions, {})
    bundle = translate(api, definitions, EdgeSettings()).message
    shown = plain(bundle)
    if bundle.first_route:
        shown["first_route"] = [plain(route_components_pb2.Route.FromString(bundle.first_route))]
    shown["routes"] = [plain(route_components_pb2.Route.FromString(route)) for route in bundle.routes]
    if bundle.chosen_routes:
        shown["chosen_routes"] = [plain(route_components_pb2.Route.FromString(route)) for route in bundle.chosen_routes]
    if bundle.HasField("operations"):
        paths = [plain(path) for path in bundle.operations.paths]
        shown["operations"] = [plain(row) | {"path": paths[row.path]} for row in bundle.operations.rows]
    shown["clusters"] = [plain(cluster_pb2.Cluster.FromString(cluster)) for cluster in bundle.clusters]
    for chain, message in zip(shown.get("chains", []), bundle.chains, strict=True):
        for attachment, sent in zip(chain["attachments"], message.attachments, strict=True):
            attachment["parameters"] = json.loads(sent.parameters)
            attachment["system_parameters"] = json.loads(sent.system_parameters)
    return shown


def plain(message: Message) -> JsonObject:
    shown: JsonObject = json.loads(MessageToJson(message, preserving_proto_field_name=True))
    return shown


def without_ids(bundle: JsonObject) -> JsonObject:
    """Ids are hashes of content: a changed default changes them all. test_chains.py tests them."""
    names = [item["name"] for part in ("routes", "clusters") for item in bundle[part]]
    assert len({ID.sub("…", name) for name in names}) == len(set(names)), "names that only their ids tell apart"
    shown: JsonObject = json.loads(ID.sub("…", json.dumps(bundle)))
    return shown


@pytest.fixture(scope="module")
def bundle_of(definitions: Definitions) -> functools.partial[JsonObject]:
    return functools.partial(functools.cache(readable), definitions=definitions)


def test_everything_that_a_bundle_has_by_default(
    bundle_of: functools.partial[JsonObject], request: pytest.FixtureRequest
) -> None:
    check(bundle_of(GOLDEN / "whole.in.yaml"), WHOLE, update=request.config.getoption("--update"))


@pytest.mark.parametrize("golden", goldens(), ids=lambda path: path.name)
def test_golden(golden: Path, bundle_of: functools.partial[JsonObject], request: pytest.FixtureRequest) -> None:
    update = request.config.getoption("--update")
    name, part, _ = golden.name.split(".")
    assert part in PARTS, f"{golden.name}: expected NAME.PART.yaml with one of {', '.join(PARTS)}"
    source = golden.with_name(f"{name}.in.yaml")
    made = without_ids(bundle_of(source)).get(part, []) if source.exists() else []
    if update and not made:
        golden.unlink()
        return
    assert made, f"{golden.name}: no API has {part} for it; remove it with --update"
    usual = without_ids(bundle_of(GOLDEN / "whole.in.yaml")).get(usual_part(part), [])
    check(differences(made, usual), golden, update=update)


def test_each_input_has_a_golden() -> None:
    names = [{path.name.partition(".")[0] for path in paths} for paths in (INPUTS, [WHOLE, *goldens()])]
    assert names[0] == names[1], "for each new input write an empty NAME.PART.yaml, and run pytest with --update"


def test_each_field_of_each_bundle_is_in_a_golden(bundle_of: functools.partial[JsonObject]) -> None:
    """Even if the golden's input is about something else."""
    shown = set(fields(read_golden(WHOLE)))
    for golden in goldens():
        _, part, _ = golden.name.split(".")
        shown |= set(fields(read_golden(golden), usual_part(part)))
    missing = {
        field: source.name
        for source in INPUTS
        for part, value in bundle_of(source).items()
        for field in fields(value, usual_part(part))
        if field not in shown
    }
    assert missing == {}, "for each write an empty NAME.PART.yaml beside the input, and run pytest with --update"


def usual_part(part: str) -> str:
    """The part of the whole bundle that has what is usual for this one: a chosen route is a route."""
    return part.removeprefix("chosen_")


def fields(value: JsonValue, at: str = "") -> Iterator[str]:
    """The paths of the leaves; all items of a list have the same path."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from fields(item, f"{at}.{key}" if at else key)
    elif isinstance(value, list):
        for item in value:
            yield from fields(item, f"{at}[]")
    elif value is not None:
        yield at
