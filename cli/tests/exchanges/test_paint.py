from __future__ import annotations

import json
from pathlib import Path

import pytest
from gatewright_cli.exchanges.paint import safe

CASES = json.loads((Path(__file__).resolve().parents[3] / "conformance" / "visible_text.json").read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda case: ascii(case["text"]))
def test_characters_that_are_not_seen_are_escaped(case: dict[str, str]) -> None:
    assert safe(case["text"]) == case["shown"]
