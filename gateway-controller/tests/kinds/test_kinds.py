"""The table of kinds, and the one other list that has them."""

from __future__ import annotations

from typing import get_args

from gatewright_controller.kinds import KINDS
from gatewright_controller.management.resources_api import PARTS
from gatewright_controller.management.shapes import plans


def test_each_kind_has_rows_and_is_known_to_plans() -> None:
    names = [kind.name for kind in KINDS]
    assert list(PARTS) == names
    assert get_args(plans.Kind) == ("Api", "Gateway", *names)
    assert {row.right for part in PARTS.values() for row in part.rows} == {
        right for kind in KINDS for right in (kind.read, kind.write)
    }
