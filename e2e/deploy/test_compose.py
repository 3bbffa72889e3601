"""The Compose file: it is one by Compose's own schema, and names what there is."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema_rs
import yaml

from e2e.kit.places import ROOT

COMPOSE = ROOT / "deploy" / "compose"
SCHEMA = Path(__file__).parent / "testdata" / "compose-spec.json"
"""schema/compose-spec.json of github.com/compose-spec/compose-go v2, as it is, under the Apache License 2.0."""


def test_it_is_valid() -> None:
    validator = jsonschema_rs.validator_for(json.loads(SCHEMA.read_text()))
    document = yaml.safe_load((COMPOSE / "compose.yaml").read_text())
    assert [error.message for error in validator.iter_errors(document)] == []
    document["services"]["node"]["command"] = 7
    assert list(validator.iter_errors(document)) != []


def test_secrets_configs_and_volumes_are_declared_and_used() -> None:
    document = yaml.safe_load((COMPOSE / "compose.yaml").read_text())
    services = document["services"].values()
    assert {name for service in services for name in service.get("secrets", ())} == set(document["secrets"])
    for name, file in document["secrets"].items():
        assert file == {"file": f"secrets/{name}"}
        assert re.search(rf"\$made/{re.escape(name)}\b|\b{re.escape(name)}\b", (COMPOSE / "secrets.sh").read_text())
    assert {item["source"] for service in services for item in service.get("configs", ())} == set(document["configs"])
    for service in services:
        for argument in service.get("command", ()):
            for secret in re.findall(r"/run/secrets/(\S+)", argument):
                assert secret in service["secrets"]


def test_a_node_has_the_time_that_its_drain_takes() -> None:
    node = yaml.safe_load((COMPOSE / "compose.yaml").read_text())["services"]["node"]
    drain = next(int(word.partition("=")[2]) for word in node["command"] if word.startswith("--drain-seconds="))
    assert int(node["stop_grace_period"].removesuffix("s")) >= drain + 10


def test_containers_have_what_the_image_needs_and_no_more() -> None:
    document = yaml.safe_load((COMPOSE / "compose.yaml").read_text())
    for name in ("controller", "node"):
        service = document["services"][name]
        assert (service["read_only"], service["cap_drop"], service["security_opt"]) == (
            True,
            ["ALL"],
            ["no-new-privileges"],
        )
        assert service["tmpfs"][0].startswith("/tmp:")  # noqa: S108
