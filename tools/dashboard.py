"""The Grafana dashboards of deploy/grafana: gatewright.json, made from tools/dashboard_panels.py, and
gatewright-language-models.json, made from tools/dashboard_llm_panels.py.

python tools/dashboard.py            writes them
python tools/dashboard.py --check    fails where one is not what would be written
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dashboard_llm_panels
import dashboard_panels
from dashboard_panels import Panel, Row, Variable

FOLDER = Path(__file__).resolve().parent.parent / "deploy" / "grafana"
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
COLUMNS = 24
SCHEMA_VERSION = 39  # Grafana 10.4 and newer
Json = dict[str, Any]


@dataclass(frozen=True)
class Dashboard:
    name: str
    """Of the file, and Grafana's uid."""
    title: str
    description: str
    variables: tuple[Variable, ...]
    rows: tuple[Row, ...]


DASHBOARDS = (
    Dashboard(
        "gatewright",
        "Gatewright",
        "What nodes, APIs and policies do.",
        dashboard_panels.VARIABLES,
        dashboard_panels.ROWS,
    ),
    Dashboard(
        "gatewright-language-models",
        "Gatewright: language models",
        "Tokens and cost of language models, as llm-usage and llm-budget count them.",
        dashboard_llm_panels.VARIABLES,
        dashboard_llm_panels.ROWS,
    ),
)


def main(arguments: list[str]) -> str | None:
    for dashboard in DASHBOARDS:
        file = FOLDER / f"{dashboard.name}.json"
        text = json.dumps(to_json(dashboard), indent=2, ensure_ascii=False) + "\n"
        if arguments != ["--check"]:
            file.write_text(text)
        elif not file.exists() or file.read_text() != text:
            return f"{file}: expected what tools/dashboard.py writes: run it"
    return None


def to_json(dashboard: Dashboard) -> Json:
    return {
        "uid": dashboard.name,
        "title": dashboard.title,
        "description": f"{dashboard.description} Made by tools/dashboard.py.",
        "tags": ["gatewright"],
        "schemaVersion": SCHEMA_VERSION,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": [source_variable(), *map(variable, dashboard.variables)]},
        "annotations": {"list": [firing_alerts()]},
        "panels": list(lay_out(dashboard.rows)),
    }


def lay_out(rows: tuple[Row, ...]) -> Iterator[Json]:
    """Rows from top to bottom, panels of a row from left to right; ids in that order."""
    number, top = 1, 0
    for row in rows:
        yield row_header(row, number, top)
        number, top, left = number + 1, top + 1, 0
        for chart in row.panels:
            if left + chart.width > COLUMNS:
                top, left = top + row.height, 0
            yield panel(chart, number, {"x": left, "y": top, "w": chart.width, "h": row.height})
            number, left = number + 1, left + chart.width
        top += row.height


def row_header(row: Row, number: int, top: int) -> Json:
    place = {"x": 0, "y": top, "w": COLUMNS, "h": 1}
    return {"id": number, "type": "row", "title": row.title, "collapsed": False, "gridPos": place, "panels": []}


def panel(chart: Panel, number: int, place: Json) -> Json:
    return {
        "id": number,
        "type": chart.type,
        "title": chart.title,
        "description": chart.description,
        "datasource": SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": chart.unit, "min": 0, **custom(chart)}, "overrides": overrides(chart)},
        "options": options(chart),
        "targets": [target(chart, index) for index in range(len(chart.queries))],
        **({"transformations": [{"id": "merge", "options": {}}]} if chart.type == "table" else {}),
    }


def target(chart: Panel, index: int) -> Json:
    legend, query = list(chart.queries.items())[index]
    query_target = {"refId": chr(ord("A") + index), "datasource": SOURCE, "expr": query, "legendFormat": legend}
    if chart.type == "timeseries":
        return query_target | {"range": True, "instant": False}
    return query_target | {
        "range": False,
        "instant": True,
        "format": "table" if chart.type == "table" else "time_series",
    }


def custom(chart: Panel) -> Json:
    if chart.type != "timeseries":
        return {}
    stacking = {"mode": "normal" if chart.stacked else "none", "group": "A"}
    return {
        "custom": {
            "fillOpacity": 20 if chart.stacked else 0,
            "lineWidth": 1,
            "showPoints": "never",
            "stacking": stacking,
        }
    }


def options(chart: Panel) -> Json:
    if chart.type == "timeseries":
        legend = {"displayMode": "table", "placement": "bottom", "showLegend": True, "calcs": ["lastNotNull", "max"]}
        return {"legend": legend, "tooltip": {"mode": "multi", "sort": "desc"}}
    if chart.type == "table":
        return {"showHeader": True, "sortBy": [{"displayName": next(iter(chart.queries)), "desc": True}]}
    return {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "none", "textMode": "value_and_name"}


def overrides(chart: Panel) -> list[Json]:
    """Overrides of a table: each query's column has the query's name and its own unit."""
    if chart.type != "table":
        return []
    columns = [
        by_name(
            f"Value #{chr(ord('A') + index)}",
            {"displayName": title, "unit": chart.units.get(title, chart.unit), "decimals": 3},
        )
        for index, title in enumerate(chart.queries)
    ]
    return [*columns, by_name("Time", {"custom.hidden": True})]


def by_name(name: str, properties: Json) -> Json:
    return {
        "matcher": {"id": "byName", "options": name},
        "properties": [{"id": key, "value": value} for key, value in properties.items()],
    }


def source_variable() -> Json:
    return {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "refresh": 1}


def variable(definition: Variable) -> Json:
    query = {"query": definition.query, "refId": definition.name}
    whole = {"includeAll": True, "multi": True, "allValue": ".*", "current": {"text": "All", "value": "$__all"}}
    return {
        "name": definition.name,
        "label": definition.label,
        "type": "query",
        "datasource": SOURCE,
        "definition": definition.query,
        "query": query,
        "regex": definition.regex,
        "refresh": 2,
        "sort": 1,
        **(whole if definition.several else {"includeAll": False, "multi": False}),
    }


def firing_alerts() -> Json:
    """Marks in every graph from where to where an alert was firing."""
    query = 'ALERTS{alertname=~"Gatewright.*", alertstate="firing", severity="page"}'
    return {
        "name": "Pages",
        "datasource": SOURCE,
        "enable": True,
        "iconColor": "red",
        "expr": query,
        "titleFormat": "{{alertname}}",
        "textFormat": "{{api}} {{policy}} {{instance}}",
        "step": "60s",
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
