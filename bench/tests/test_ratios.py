from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import ratios
from bench.tests.samples import sample

ALL = [
    sample("plain", connections=64, Envoy=50),
    sample("no-policies", connections=64, Envoy=60),
    sample("go", connections=64, Envoy=100, Go=100),
    sample("go-python-go", connections=64, Envoy=200, Go=150, Python=150),
]


def test_costs_are_in_units_of_plain_envoy() -> None:
    assert ratios.costs_of(ALL) == {"no-policies": 1.2, "go": 4.0, "go-python-go": 10.0}
    assert ratios.costs_of(ALL[2:]) == {}


def test_a_ratio_near_the_recorded_one_is_no_regression() -> None:
    recorded = {"no-policies": 1.2, "go": 2.5, "go-python-go": 12.0}
    assert list(ratios.find_regressions(ratios.costs_of(ALL), recorded)) == []


def test_a_ratio_far_above_the_recorded_one_is_named() -> None:
    recorded = {"no-policies": 1.2, "go": 2.3, "go-python-go": 10.0}
    assert list(ratios.find_regressions(ratios.costs_of(ALL), recorded)) == [
        "go at 64 connections: expected at most 3.83 × plain Envoy's CPU, since 2.30 is recorded, got 4.00"
    ]


def test_only_a_run_with_all_rows_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ratios, "FILE", tmp_path / "ratios.json")
    ratios.write(ALL[:3])
    assert not ratios.FILE.exists()
    ratios.write(ALL)
    assert json.loads(ratios.FILE.read_text()) == {"cpu × plain Envoy": ratios.costs_of(ALL)}
    assert ratios.read() == ratios.costs_of(ALL)


def test_the_record_has_all_rows() -> None:
    assert set(ratios.read()) == set(ratios.ROWS)
