"""The CRD of PolicyAttachments takes what we take, field by field."""

from __future__ import annotations

from pathlib import Path

import jsonschema_rs
import yaml
from gatewright_controller.gateway_api import KINDS
from gatewright_controller.model import PolicyAttachment
from gatewright_controller.model.fields import fields_of
from gatewright_documents.values import JsonObject

from .cases import case, translated

FILE = Path(__file__).parents[3] / "deploy" / "helm" / "gatewright" / "crd" / "policyattachments.yaml"
CRD: JsonObject = yaml.safe_load(FILE.read_text())
(VERSION,) = CRD["spec"]["versions"]
SCHEMA: JsonObject = VERSION["schema"]["openAPIV3Schema"]


def test_its_names_are_those_that_are_watched() -> None:
    (watched,) = [found for found in KINDS if found.kind == "PolicyAttachment"]
    names = CRD["spec"]["names"]
    assert (CRD["spec"]["group"], VERSION["name"], names["plural"], names["kind"]) == watched[:4]
    assert CRD["metadata"]["name"] == f"{names['plural']}.{CRD['spec']['group']}"


def test_a_policy_has_the_fields_that_it_has_in_an_api() -> None:
    policy = SCHEMA["properties"]["spec"]["properties"]["policies"]["items"]
    assert set(policy["properties"]) == {field.encode_name for field in fields_of(PolicyAttachment)}
    assert set(policy["required"]) == {field.encode_name for field in fields_of(PolicyAttachment) if field.required}


def test_it_takes_attachments_with_their_status() -> None:
    """All of the case but the one that names a kind which the CRD refuses."""
    statuses = translated("policy-attachments").statuses
    validator = jsonschema_rs.validator_for(SCHEMA)
    for key, attachment in case("policy-attachments").by_key.items():
        if key[0] != "PolicyAttachment":
            continue
        written = {**attachment, "status": _with_times(statuses[key])}
        assert validator.is_valid(written) == (key[2] != "nowhere"), key


def _with_times(status: JsonObject) -> JsonObject:
    time = "2026-01-01T00:00:00Z"
    return {
        "ancestors": [
            {**found, "conditions": [{**condition, "lastTransitionTime": time} for condition in found["conditions"]]}
            for found in status["ancestors"]
        ]
    }
