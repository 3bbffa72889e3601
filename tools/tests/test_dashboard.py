"""The Grafana dashboards: what their JSON has to be for Grafana, and that it is what their source says."""

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
Json = dict[str, Any]
DASHBOARDS: dict[str, Json] = {
    file.stem: json.loads(file.read_text()) for file in sorted((ROOT / "deploy" / "grafana").glob("*.json"))
}
TARGETS = [
    (name, target)
    for name, dashboard in DASHBOARDS.items()
    for panel in dashboard["panels"]
    for target in panel.get("targets", ())
]
UNITS = {"s", "ms", "bytes", "Bps", "ops", "reqps", "cps", "percentunit", "short"}
"""Grafana's names: https://github.com/grafana/grafana/blob/main/packages/grafana-data/src/valueFormats/categories.ts"""
GIVEN = {"datasource", "__rate_interval", "__range"}
each_dashboard = pytest.mark.parametrize("dashboard", DASHBOARDS.values(), ids=DASHBOARDS)


def panels_of(dashboard: Json) -> list[Json]:
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def test_dashboards_are_generated_from_their_source() -> None:
    result = subprocess.run(
        [sys.executable, "tools/dashboard.py", "--check"], cwd=ROOT, check=False, capture_output=True
    )
    assert result.returncode == 0, result.stderr


@each_dashboard
def test_ids_and_titles_are_there_once(dashboard: Json) -> None:
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))
    titles = [panel["title"] for panel in panels_of(dashboard)]
    assert len(titles) == len(set(titles))
    for panel in panels_of(dashboard):
        references = [target["refId"] for target in panel["targets"]]
        assert references == [chr(ord("A") + index) for index in range(len(references))]


@each_dashboard
def test_no_panel_lies_on_another_one(dashboard: Json) -> None:
    places = [(panel["title"], panel["gridPos"]) for panel in dashboard["panels"]]
    assert all(place["x"] + place["w"] <= 24 for _, place in places)
    assert [(a, b) for (a, place), (b, other_place) in combinations(places, 2) if overlap(place, other_place)] == []


def overlap(left: dict[str, int], right: dict[str, int]) -> bool:
    return all(
        left[start] < right[start] + right[size] and right[start] < left[start] + left[size]
        for start, size in (("x", "w"), ("y", "h"))
    )


@each_dashboard
def test_all_panels_use_the_chosen_data_source(dashboard: Json) -> None:
    panels = panels_of(dashboard)
    targets = [target for panel in panels for target in panel["targets"]]
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    assert {json.dumps(holder["datasource"]) for holder in [*panels, *targets]} == {json.dumps(chosen)}
    first, *others = dashboard["templating"]["list"]
    assert (first["name"], first["type"], first["query"]) == ("datasource", "datasource", "prometheus")
    assert all(panel["datasource"] == chosen for panel in others)


@each_dashboard
def test_units_are_known_to_grafana(dashboard: Json) -> None:
    used = {panel["fieldConfig"]["defaults"]["unit"] for panel in panels_of(dashboard)}
    properties = [
        setting
        for panel in panels_of(dashboard)
        for override in panel["fieldConfig"]["overrides"]
        for setting in override["properties"]
    ]
    used |= {setting["value"] for setting in properties if setting["id"] == "unit"}
    assert used <= UNITS, used - UNITS


@pytest.mark.parametrize(("name", "target"), TARGETS, ids=[target["expr"][:60] for _, target in TARGETS])
def test_queries_and_legends_use_existing_variables_and_labels(name: str, target: Json) -> None:
    known = {variable["name"] for variable in DASHBOARDS[name]["templating"]["list"]} | GIVEN
    assert set(re.findall(r"\$\{?(\w+)", target["expr"])) <= known
    assert "$job" in target["expr"]
    labels = {label.strip() for group in re.findall(r"by \(([^)]*)\)", target["expr"]) for label in group.split(",")}
    labels |= {"api", "policy"} if "job_api_policy:" in target["expr"] else set()
    assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= labels


@each_dashboard
def test_each_variable_is_asked_of_the_nodes_of_the_job(dashboard: Json) -> None:
    for variable in dashboard["templating"]["list"][1:]:
        assert variable["definition"] == variable["query"]["query"]
        assert re.fullmatch(r"label_values\(.+, \w+\)", variable["definition"])
        assert variable["name"] == "job" or "$job" in variable["definition"]


def test_metrics_of_language_models_are_those_of_the_policies() -> None:
    """With the labels by which they are added up."""
    folders = [ROOT / "policies" / name for name in ("llm-usage", "llm-budget")]
    sources = "".join(file.read_text() for folder in folders for file in sorted(folder.rglob("*.py")))
    counters = set(re.findall(r'Counter\(\s*"(llm_\w+)"', sources))
    text = json.dumps(DASHBOARDS["gatewright-language-models"])
    used = set(re.findall(r"gatewright_policy_(llm_\w+)", text))
    assert used <= counters, used - counters
    assert {"llm_cost_billionths_total", "llm_input_tokens_total", "llm_budget_spent_total"} <= used
