"""The Grafana dashboard: what its JSON has to be for Grafana, and that it is what its source says."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy" / "grafana" / "gatewright.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
TARGETS = [target for panel in PANELS for target in panel["targets"]]
UNITS = {"s", "ms", "bytes", "Bps", "ops", "reqps", "cps", "percentunit", "short"}
"""Grafana's names: https://github.com/grafana/grafana/blob/main/packages/grafana-data/src/valueFormats/categories.ts"""
GIVEN = {"datasource", "__rate_interval"}


def test_the_dashboard_is_generated_from_its_source() -> None:
    result = subprocess.run(
        [sys.executable, "tools/dashboard.py", "--check"], cwd=ROOT, check=False, capture_output=True
    )
    assert result.returncode == 0, result.stderr


def test_ids_and_titles_are_there_once() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    titles = [panel["title"] for panel in PANELS]
    assert len(titles) == len(set(titles))
    for panel in PANELS:
        references = [target["refId"] for target in panel["targets"]]
        assert references == [chr(ord("A") + index) for index in range(len(references))]


def test_no_panel_lies_on_another_one() -> None:
    places = [(panel["title"], panel["gridPos"]) for panel in DASHBOARD["panels"]]
    assert all(place["x"] + place["w"] <= 24 for _, place in places)
    assert [(a, b) for (a, place), (b, other_place) in combinations(places, 2) if overlap(place, other_place)] == []


def overlap(left: dict[str, int], right: dict[str, int]) -> bool:
    return all(
        left[start] < right[start] + right[size] and right[start] < left[start] + left[size]
        for start, size in (("x", "w"), ("y", "h"))
    )


def test_all_panels_use_the_chosen_data_source() -> None:
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    assert {json.dumps(holder["datasource"]) for holder in [*PANELS, *TARGETS]} == {json.dumps(chosen)}
    first, *others = DASHBOARD["templating"]["list"]
    assert (first["name"], first["type"], first["query"]) == ("datasource", "datasource", "prometheus")
    assert all(panel["datasource"] == chosen for panel in others)


def test_units_are_known_to_grafana() -> None:
    used = {panel["fieldConfig"]["defaults"]["unit"] for panel in PANELS}
    properties = [
        setting
        for panel in PANELS
        for override in panel["fieldConfig"]["overrides"]
        for setting in override["properties"]
    ]
    used |= {setting["value"] for setting in properties if setting["id"] == "unit"}
    assert used <= UNITS, used - UNITS


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target["expr"][:60])
def test_queries_and_legends_use_existing_variables_and_labels(target: dict[str, Any]) -> None:
    known = {variable["name"] for variable in DASHBOARD["templating"]["list"]} | GIVEN
    assert set(re.findall(r"\$\{?(\w+)", target["expr"])) <= known
    assert "$job" in target["expr"]
    labels = {label.strip() for group in re.findall(r"by \(([^)]*)\)", target["expr"]) for label in group.split(",")}
    labels |= {"api", "policy"} if "job_api_policy:" in target["expr"] else set()
    assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= labels


def test_each_variable_is_asked_of_the_nodes_of_the_job() -> None:
    for variable in DASHBOARD["templating"]["list"][1:]:
        assert variable["definition"] == variable["query"]["query"]
        assert re.fullmatch(r"label_values\(.+, \w+\)", variable["definition"])
        assert variable["name"] == "job" or "$job" in variable["definition"]
