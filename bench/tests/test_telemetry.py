from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.telemetry import MEASURED, OFF, VARIANTS, table
from bench.tests.samples import sample


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_variant_is_a_valid_gateway(variant: str, tmp_path: Path) -> None:
    file = tmp_path / "gateway.json"
    spec = dict(VARIANTS[variant])
    file.write_text(json.dumps({"apiVersion": "gatewright.dev/v1", "kind": "Gateway", "spec": spec}))
    command = [sys.executable, "-m", "gatewright_controller", "--print-listeners", str(file)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 0, result.stderr


def test_ratios_are_those_within_a_round() -> None:
    samples = [
        (variant, sample(row.key, number, Envoy=cost * (1 if variant == OFF else 1.1)))
        for row in MEASURED
        for variant in VARIANTS
        for number, cost in enumerate((100.0, 300.0, 200.0))
    ]
    lines = list(table(samples))[2:]
    assert len(lines) == len(MEASURED) * len(VARIANTS)
    for line in lines:
        cells = [cell.strip() for cell in line.strip("| ").split(" | ")]
        ratio = "1.000 (1.00–1.00)" if cells[1] == OFF else "1.100 (1.10–1.10)"
        assert cells[4] == ratio
