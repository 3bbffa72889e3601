"""The table of kinds, and the one other list that has them."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from gatewright_controller.kinds import KINDS
from gatewright_controller.management.resources_api import PARTS
from gatewright_controller.management.shapes import plans

HEADER = {"name": "a", "version": "v1", "maxConcurrency": 2.0}


@pytest.mark.parametrize(
    ("name", "spec", "field"),
    [
        ("Plan", {"limits": [{"requests": 2.0, "per": "1s"}]}, "spec.limits[0].requests"),
        ("Defaults", {"policies": {"before": [HEADER]}}, "spec.policies.before[0].maxConcurrency"),
        ("NodeGateway", {"nodes": {"zone": "a"}, "listeners": [{"name": "a", "port": 80.0}]}, "spec.listeners[0].port"),
    ],
)
def test_a_whole_number_with_a_decimal_point_is_a_mistake(name: str, spec: dict[str, Any], field: str) -> None:
    """JSON Schema takes 2.0 for a whole number."""
    (kind,) = (kind for kind in KINDS if kind.name == name)
    document = {"apiVersion": "gatewright.dev/v1", "kind": name, "metadata": {"name": "a"}, "spec": spec}
    assert [(mistake.field, mistake.got) for mistake in kind.mistakes(document)] == [
        (field, "one with a decimal point")
    ]


def test_each_kind_has_rows_and_is_known_to_plans() -> None:
    names = [kind.name for kind in KINDS]
    assert list(PARTS) == names
    assert get_args(plans.Kind) == ("Api", "Gateway", *names)
    assert {row.right for part in PARTS.values() for row in part.rows} == {
        right for kind in KINDS for right in (kind.read, kind.write)
    }
