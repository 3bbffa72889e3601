"""What becomes of cases (`NAME.out.yaml`). `--update` rewrites these.

An `Api` shows what differs from one of these to the next.
"""

from __future__ import annotations

import pytest
import yaml
from gatewright_controller.gateway_api import CONTROLLER_NAME, Objects, Translation, translate
from gatewright_controller.model import gateway_of
from gatewright_controller.resource.claims import Claim, claims_of
from gatewright_controller.validation import validate
from gatewright_controller.validation.gateway import validate_gateway
from gatewright_documents.values import JsonObject

from .cases import CASES, case, shipped_policies, translated

COMMON = ("version", "context", "strictPaths", "matching", "rewrite", "policiesChooseUpstream")
"""What all Apis of this room have."""
NAMES = sorted(path.name.removesuffix(".in.yaml") for path in CASES.glob("*.in.yaml"))


class Plain(yaml.SafeDumper):
    """Writes what occurs twice twice."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - of PyYAML
        return True


def shown(translation: Translation) -> JsonObject:
    gateways = {
        "/".join(nodes.key[1:]): {
            "ports": [f"{port.name} {port.number} -> {port.target}" for port in nodes.ports],
            **({"files": sorted(nodes.files)} if nodes.files else {}),
        }
        for nodes in translation.gateways
    }
    statuses = {"/".join(filter(None, key)): _status(status) for key, status in sorted(translation.statuses.items())}
    return {
        "documents": [_document(found) for found in translation.documents],
        "gateways": gateways,
        "statuses": statuses,
    }


def _document(document: JsonObject) -> JsonObject:
    spec = {name: value for name, value in document["spec"].items() if name not in COMMON}
    return {document["kind"]: document["metadata"]["name"], **spec}


def _status(status: JsonObject) -> JsonObject:
    made: JsonObject = {}
    if "conditions" in status:
        made["conditions"] = _conditions(status)
    for listener in status.get("listeners", []):
        kinds = ", ".join(kind["kind"] for kind in listener["supportedKinds"])
        made[listener["name"]] = [f"{listener['attachedRoutes']} of {kinds or 'nothing'}", *_conditions(listener)]
    for holder, ref in (("parents", "parentRef"), ("ancestors", "ancestorRef")):
        for found in status.get(holder, []):
            named = found[ref]
            label = " ".join(str(named[name]) for name in ("kind", "name", "sectionName", "port") if name in named)
            made[label] = _conditions(found)
    return made


def _conditions(holder: JsonObject) -> list[str]:
    return [
        f"{found['type']} {found['status']} {found['reason']}" + (f": {found['message']}" if found["message"] else "")
        for found in holder["conditions"]
    ]


@pytest.mark.parametrize("name", NAMES)
def test_what_becomes_of_a_case(name: str, request: pytest.FixtureRequest) -> None:
    golden, made = CASES / f"{name}.out.yaml", shown(translated(name))
    if request.config.getoption("--update"):
        golden.write_text(yaml.dump(made, Dumper=Plain, sort_keys=False, width=120, allow_unicode=True))
    assert yaml.safe_load(golden.read_text()) == made, "if the change is meant, run pytest with --update"


@pytest.mark.parametrize("name", NAMES)
def test_each_document_is_accepted(name: str) -> None:
    """By the validation of a write, and beside all others."""
    claims: list[Claim] = []
    nodes = {}
    for document in translated(name).documents:
        if document["kind"] == "NodeGateway":
            validate_gateway(gateway_of(document))
            assert tuple(document["spec"]["nodes"].items()) not in nodes
            nodes[tuple(document["spec"]["nodes"].items())] = document
            continue
        api = validate(document, shipped_policies(), {}, is_written=True)
        gateway = nodes[tuple(api.spec.nodes.items())]
        assert set(api.spec.listeners) <= {listener["name"] for listener in gateway["spec"]["listeners"]}
        for claim in claims_of(api.spec.hosts, api.spec.context, api.spec.listeners):
            assert not [other for other in claims if other.clashes(claim)], claim
            claims.append(claim)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_objects_in_another_order_are_the_same(name: str) -> None:
    objects = case(name)
    turned = Objects(dict(reversed(list(objects.by_key.items()))), objects.policies)
    assert translate(turned, CONTROLLER_NAME) == translate(objects, CONTROLLER_NAME)
