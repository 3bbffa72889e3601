"""The short form of `make wheel-test`: what the wheels hold, and a first gateway made from them."""

from __future__ import annotations

import zipfile
from pathlib import Path

import httpx
import pytest
from uv import find_uv_bin

from e2e.kit.installed import Installation, make_wheels
from e2e.kit.places import ROOT


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return make_wheels(tmp_path_factory.mktemp("wheels"))


def test_two_distributions_and_every_package_under_a_name_of_ours(wheels: dict[str, Path]) -> None:
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


def test_nothing_of_this_machine_is_in_them(wheels: dict[str, Path]) -> None:
    root = str(ROOT).encode()
    with zipfile.ZipFile(wheels["gatewright"]) as wheel:
        assert [name for name in wheel.namelist() if root in wheel.read(name)] == []


@pytest.mark.slow("builds two wheels, and installs them with pip")
def test_install_init_run(wheels: dict[str, Path], tmp_path: Path) -> None:
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


def assert_greeted(url: str, greeting: str = "hello") -> None:
    """Client, Go, Python and the echo upstream have all seen the request."""
    answer = httpx.get(f"{url}/hello/there", headers={"x-name": "Ada"})
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-greeted"] == "yes"
    assert ["x-greeting", f"{greeting} Ada"] in answer.json()["headers"]
