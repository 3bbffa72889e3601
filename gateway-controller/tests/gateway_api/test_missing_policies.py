"""Filters that become policies which the build lacks: the status names policy and cure, and the rule is closed."""

from __future__ import annotations

from gatewright_controller.gateway_api import CONTROLLER_NAME, translate
from gatewright_controller.resource.definitions import Definitions
from msgspec.structs import replace

from .cases import objects_in
from .test_smallest import OBJECTS

FILTERS = """    filters:
    - {type: RequestHeaderModifier, requestHeaderModifier: {remove: [x-a]}}
    - {type: CORS, cors: {allowOrigins: ["*"]}}
"""


def test_the_status_names_each_policy_and_where_to_add_it() -> None:
    objects = replace(
        objects_in(OBJECTS.replace("    backendRefs:", f"{FILTERS}    backendRefs:")), policies=Definitions()
    )
    translation = translate(objects, CONTROLLER_NAME)
    accepted = translation.statuses["HTTPRoute", "shop", "orders"]["parents"][0]["conditions"][0]
    assert (accepted["type"], accepted["status"], accepted["reason"]) == ("Accepted", "False", "UnsupportedValue")
    assert accepted["message"] == (
        "expected the policy set-headers v1 in this build, which the filter RequestHeaderModifier becomes, got none; "
        "add `- name: set-headers` to the policies of the image's build.yaml, and build it again; "
        "expected the policy cors v1 in this build, which the filter CORS becomes, got none; "
        "add `- name: cors` to the policies of the image's build.yaml, and build it again"
    )
    assert translation.documents[-1]["spec"]["operations"][0]["answer"]["status"] == 500
