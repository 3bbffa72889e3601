"""The short form of `make wheel-test`: what the wheels hold, and a first gateway made from them."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

import httpx
import pytest
from uv import find_uv_bin

from e2e.kit.gateway import eventually
from e2e.kit.installed import Installation, make_wheels
from e2e.kit.places import ROOT
from e2e.kit.scraping import scrape_at


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return make_wheels(tmp_path_factory.mktemp("wheels"))


def test_two_distributions_have_every_package_under_our_names(wheels: dict[str, Path]) -> None:
    assert wheels.keys() == {"gatewright", "gatewright_sdk"}
    packages = {
        name: {entry.partition("/")[0] for entry in zipfile.ZipFile(wheel).namelist()} for name, wheel in wheels.items()
    }
    assert packages["gatewright_sdk"] == {"gatewright", "sdk", "gatewright_sdk-0.1.0.dist-info"}
    files = zipfile.ZipFile(wheels["gatewright_sdk"]).namelist()
    assert {"gatewright/py.typed", "sdk/py.typed"} <= {*files}, "editors and mypy read their types"
    own = {name for name in packages["gatewright"] if not name.endswith(".dist-info")}
    assert own == {
        *("gatewright_builder", "gatewright_cli", "gatewright_controller"),
        *("gatewright_documents", "gatewright_executor"),
    }


def test_the_wheels_have_nothing_of_this_machine(wheels: dict[str, Path]) -> None:
    root = str(ROOT).encode()
    with zipfile.ZipFile(wheels["gatewright"]) as wheel:
        assert [name for name in wheel.namelist() if root in wheel.read(name)] == []


@pytest.mark.slow("builds two wheels, and installs them with pip")
def test_the_installed_product_initializes_and_runs(wheels: dict[str, Path], tmp_path: Path) -> None:
    installed = Installation(tmp_path / "venv", tmp_path / "cache")
    installed.run("python3", "-m", "venv", "--without-pip", str(installed.folder), cwd=tmp_path)
    folder = tmp_path / "gateway"
    folder.mkdir()
    uv = (find_uv_bin(), "pip", "install", "--quiet", "--python", str(installed.folder / "bin" / "python"))
    installed.run(*uv, *(str(wheel) for wheel in wheels.values()), "pytest", cwd=tmp_path)
    assert installed.run("gatewright", "init", cwd=folder).split()
    assert "4 passed" in installed.run("pytest", "policies", cwd=folder)
    ports = ("--port", "0", "--controller-port", "0", "--echo-port", "0")
    with installed.gateway(folder, *ports, "--with-echo") as (url, _):
        assert_greeted(url)
        assert_observed(installed, folder)
        assert_explained(installed, folder, url)
        assert_changed(installed, folder)


def assert_greeted(url: str, greeting: str = "hello") -> None:
    """Client, Go, Python and the echo upstream have all seen the request."""
    answer = httpx.get(f"{url}/hello/there", headers={"x-name": "Ada"})
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-greeted"] == "yes"
    assert ["x-greeting", f"{greeting} Ada"] in answer.json()["headers"]


def assert_observed(installed: Installation, folder: Path) -> None:
    """Every process exposes its metrics; the Inspector's page is there with its modules."""
    document = json.loads(installed.run("gatewright", "status", "--json", cwd=folder))
    metrics = scrape_at(document["metrics"])
    up = {sample.labels["source"]: sample.value for sample in metrics.samples("gatewright_metrics_source_up")}
    assert up == {"envoy": 1, "supervisor": 1, "controller": 1}
    ready = {sample.labels["component"]: sample.value for sample in metrics.samples("gatewright_process_up")}
    assert ready == dict.fromkeys(("supervisor", "controller", "echo", "python-executor", "policy-engine", "envoy"), 1)
    versions = {sample.labels["version"] for sample in metrics.samples("gatewright_build_info")}
    assert versions == {"0.1.0"}, "one for all"
    after = json.loads(installed.run("gatewright", "status", "--json", cwd=folder))
    assert (after["health"], after["metricsFailing"]) == ("healthy", {})
    page = json.loads(installed.run("gatewright", "inspector", "--json", cwd=folder))["url"]
    answer = httpx.get(page)
    assert (answer.status_code, "Inspector" in answer.text) == (200, True)
    (module,) = re.findall(r'<script type="module" src="([^"]+)"', answer.text)
    assert httpx.get(httpx.URL(page).join(module)).status_code == 200


def assert_explained(installed: Installation, folder: Path, url: str) -> None:
    """An exchange is recorded, shown, explained and replayed."""
    installed.run("gatewright", "record", cwd=folder)
    answer = httpx.get(f"{url}/hello/again", headers={"x-name": "Bo"})
    request_id = dict(answer.json()["headers"])["x-request-id"]
    eventually("it is kept", lambda: request_id in installed.run("gatewright", "tail", "--kept", cwd=folder))
    assert "greet:v1.0.0, request: changed" in installed.run("gatewright", "explain", request_id, cwd=folder)
    recorded = installed.run("gatewright", "tail", "--kept", "--json", cwd=folder)
    (folder / "again.jsonl").write_text(recorded)
    installed.run("gatewright", "replay", "again.jsonl", "--policy", "policies/greet", cwd=folder)


def assert_changed(installed: Installation, folder: Path) -> None:
    """Policies and APIs, by commands that find the run by its folder."""
    assert installed.run("gatewright", "reload", cwd=folder).startswith("nothing to reload generation=1\n")
    assert installed.run("gatewright", "apply", "-f", "apis", cwd=folder) == "hello unchanged, deployed\n"
