"""The files of deploy/ as a test uses them: with shorter intervals, and on free ports."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from e2e.kit.places import ROOT

Json = dict[str, Any]
DEPLOY = ROOT / "deploy"
RULES = DEPLOY / "prometheus" / "rules"
DASHBOARD = DEPLOY / "grafana" / "gatewright.json"
INTERVAL = "1s"


@dataclass(frozen=True)
class Query:
    """A query of a panel. legend: with `{{label}}` for what differs between its series."""

    panel: str
    legend: str
    expression: str


def alerts() -> list[Json]:
    return _rules(RULES / "alerts.yaml")


def recordings() -> list[Json]:
    return _rules(RULES / "recording.yaml")


def _rules(file: Path) -> list[Json]:
    return [rule for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]]


def write_hurried_rules(folder: Path) -> list[str]:
    """Writes the files of rules with a `for` of a second instead of minutes. Expressions stay as they are, with
    the ranges that they look back."""
    return [_hurry(RULES / name, folder) for name in ("recording.yaml", "alerts.yaml")]


def _hurry(file: Path, folder: Path) -> str:
    document = yaml.safe_load(file.read_text())
    for group in document["groups"]:
        for rule in group["rules"]:
            if "for" in rule:
                rule["for"] = INTERVAL
    (folder / file.name).write_text(yaml.safe_dump(document))
    return str(folder / file.name)


def configuration(folder: Path, target: str, **more: Json) -> Json:
    """deploy/prometheus/prometheus.yaml for one node, every second. more: jobs that scrape it too, in another way, by
    what their name has behind "gatewright-"."""
    config: Json = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yaml").read_text())
    config["global"] = {"scrape_interval": INTERVAL, "evaluation_interval": INTERVAL}
    config["rule_files"] = write_hurried_rules(folder)
    (job,) = config["scrape_configs"]
    job["static_configs"] = [{"targets": [target]}]
    config["scrape_configs"] += [job | settings | {"job_name": f"gatewright-{name}"} for name, settings in more.items()]
    return config


def queries(choices: Mapping[str, str]) -> Iterator[Query]:
    """The queries of every panel of the dashboard. choices: values of its variables, "All" by default."""
    document = json.loads(DASHBOARD.read_text())
    values = {variable["name"]: variable.get("allValue", "") for variable in document["templating"]["list"]} | dict(
        choices
    )
    for panel in document["panels"]:
        for target in panel.get("targets", []):
            yield Query(panel["title"], target["legendFormat"], fill_variables(target["expr"], values))


def fill_variables(expression: str, values: Mapping[str, str]) -> str:
    """$name and ${name}, as Grafana fills them in."""
    return re.sub(r"\$(\w+)|\$\{(\w+)\}", lambda match: values[match[1] or match[2]], expression)
