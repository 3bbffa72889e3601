"""The verdicts of `gatewright explain`, for cases that the Inspector's tests read too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from gatewright_cli.exchanges.recorded import read
from gatewright_cli.exchanges.verdict import comparison, notes, verdict

CASES = json.loads((Path(__file__).resolve().parents[3] / "conformance" / "exchanges.json").read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_an_exchange_is_explained(case: dict[str, Any]) -> None:
    exchange = read(json.dumps(case["recorded"]).encode())
    assert verdict(exchange) == case["verdict"]
    assert notes(exchange) == case["notes"]
    comparisons = case.get("comparisons", [""] * len(exchange.executions))
    assert [comparison(exchange, execution) for execution in exchange.executions] == comparisons
