"""Cases as files: objects of Kubernetes in YAML, `NAME.in.yaml` behind base.yaml."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import yaml
from gatewright_controller.gateway_api import CONTROLLER_NAME, Objects, Translation, translate
from gatewright_controller.resource.definitions import Definitions, definitions_of

CASES = Path(__file__).parent / "cases"
POLICIES = Path(__file__).parents[3] / "policies"


@cache
def shipped_policies() -> Definitions:
    return definitions_of({str(path): path.read_bytes() for path in POLICIES.glob("*/policy-definition.yaml")})


def objects_in(text: str) -> Objects:
    found = [item for item in yaml.safe_load_all(text) if item]
    by_key = {(item["kind"], item["metadata"].get("namespace", ""), item["metadata"]["name"]): item for item in found}
    return Objects(by_key, shipped_policies())


def case(name: str) -> Objects:
    """A case's objects, with those that all cases have."""
    paths = CASES / "base.yaml", CASES / f"{name}.in.yaml"
    return objects_in("\n---\n".join(path.read_text() for path in paths))


def translated(name: str) -> Translation:
    return translate(case(name), CONTROLLER_NAME)
