"""Defaults by the command line, against a real controller without a node."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from gatewright_cli.mistakes import ExitStatus

from cli.tests.controller_process import TOKEN, Controller, controlling

if TYPE_CHECKING:
    from cli.tests.conftest import Invoke

COUNT = "name: count\nversion: v1.0.0\nruntime: python\nprocessingMode: {requestHeaderMode: PROCESS}\n"
API = """\
apiVersion: gatewright.dev/v1
kind: Api
metadata: {name: orders, labels: {team: shop}}
spec:
  version: v1
  context: /orders
  requestTimeout: 30s
  upstream: {main: {url: "http://127.0.0.1:9"}}
  policies: [{name: count, version: v1}]
  operations:
    - {method: GET, path: /, policies: [{name: count, version: v1}]}
"""
DEFAULTS = """\
apiVersion: gatewright.dev/v1
kind: Defaults
metadata: {name: shop}
spec:
  for: {labels: {team: shop}}
  policies: {before: [{name: count, version: v1}]}
  requestTimeout: 10s
  accessLog: errors
  enforced: [requestTimeout]
"""
NAMESPACE = """\
apiVersion: gatewright.dev/v1
kind: Namespace
metadata: {name: shop}
spec: {labels: {team: shop}, contexts: [/orders]}
"""


@pytest.fixture
def controller(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Controller]:
    with controlling(tmp_path_factory.mktemp("c"), {"count-v1.0.0.yaml": COUNT}) as controller:
        monkeypatch.setenv("GATEWRIGHT_CONTROLLER", controller.url)
        monkeypatch.setenv("GATEWRIGHT_CONTROLLER_TOKEN", TOKEN)
        yield controller


def rows(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in text.splitlines()]


@pytest.mark.usefixtures("controller")
def test_defaults_from_their_apply_to_their_end(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "api.yaml").write_text(API)
    (tmp_path / "defaults.yaml").write_text(DEFAULTS)
    assert invoke("apply", "-f", str(tmp_path / "api.yaml"), "--no-wait")[0] == 0
    assert invoke("explain", "--api", "orders")[1].splitlines()[0] == "orders runs without Defaults"
    planned = invoke("plan", "-f", str(tmp_path))[1]
    assert "add Defaults shop" in planned
    assert "orders: " in planned
    assert invoke("apply", "-f", str(tmp_path / "defaults.yaml"), "--no-wait")[1].splitlines() == [
        "Defaults shop created",
        "orders has other Defaults",
    ]
    listed = rows(invoke("get", "defaults")[1])
    assert listed[0] == ["NAME", "LABELS", "HOSTS", "POLICIES", "ENFORCED", "UPDATED"]
    assert listed[1][:4] == ["shop", "team=shop", "count:v1", "requestTimeout"]
    assert rows(invoke("explain", "--api", "orders")[1]) == [
        ["orders runs with the Defaults shop, in this order"],
        [],
        ["POLICY", "RUNS FOR", "FROM"],
        ["count v1.0.0", "every operation", "Defaults shop: spec.policies.before[0]"],
        ["count v1.0.0", "every operation", "the API: spec.policies[0]"],
        ["count v1.0.0", "GET /", "the API: spec.operations[0].policies[0]"],
        [],
        ["SETTING", "VALUE", "FROM"],
        ["requestTimeout", "10s", "Defaults shop, enforced: the API's 30s does not count"],
        ["accessLog", "errors", "Defaults shop"],
    ]
    assert json.loads(invoke("explain", "--api", "orders", "--json")[1])["spec"]["requestTimeout"] == "10s"
    assert invoke("explain", "--api", "none")[0] == ExitStatus.NOT_FOUND
    assert invoke("explain", "--api", "orders", "--last")[0] == 2
    (tmp_path / "namespace.yaml").write_text(NAMESPACE)
    assert "Namespace shop created" in invoke("apply", "-f", str(tmp_path), "--no-wait")[1]
    assert rows(invoke("get", "namespaces")[1])[1][:3] == ["shop", "team=shop", "/orders"]
    (tmp_path / "api.yaml").write_text(API.replace("team: shop", "team: other"))
    refused = invoke("apply", "-f", str(tmp_path), "--no-wait")[2]
    assert "api.yaml:6: spec.context: expected the labels team=shop, which the Namespace shop wants" in refused
    assert "created" in invoke("history", "defaults/shop")[1]
    assert invoke("get", "defaults", "shop", "-o", "yaml")[1].startswith("apiVersion: gatewright.dev/v1\nkind: Def")
    assert invoke("delete", "defaults", "shop")[1] == "shop deleted\n"
    assert invoke("explain", "--api", "orders")[1].splitlines()[0] == "orders runs without Defaults"
