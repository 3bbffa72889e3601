"""What the builder's tests share: a product in small, packages made on the spot, and golden files with --update."""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from gatewright_builder.discovery import discover_policy
from gatewright_builder.manifest import Entry
from gatewright_builder.origin import Kind, Origin
from gatewright_builder.policy import Policy

TESTDATA = Path(__file__).parent / "testdata"
collect_ignore = ["testdata"]


def pytest_addoption(parser: pytest.Parser) -> None:
    with contextlib.suppress(ValueError):  # another component's tests may have it too
        parser.addoption("--update", action="store_true", help="rewrite golden files with what came out")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "compiles: runs the Go compiler")


@pytest.fixture
def update(request: pytest.FixtureRequest) -> bool:
    """Whether golden files are to be rewritten."""
    return bool(request.config.getoption("--update"))


@pytest.fixture
def product() -> Path:
    """A source root that takes no time to copy and to compile."""
    return TESTDATA / "product"


@pytest.fixture(scope="session")
def session_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the product's stock engine is compiled once for all tests."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def cache(session_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test reads or writes the user's own cache."""
    monkeypatch.setenv("GATEWRIGHT_CACHE_DIR", str(session_cache))
    return session_cache


@pytest.fixture
def fresh_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """For a test that looks into it."""
    monkeypatch.setenv("GATEWRIGHT_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only packages that uv finds: made here, so no test asks a registry."""
    folder = tmp_path / "packages"
    folder.mkdir()
    for name, version in (("tiny-rpc", "1.2"), ("tiny-rpc", "1.3"), ("colour", "1.0"), ("colour", "2.4")):
        write_wheel(folder, name, version)
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_FIND_LINKS", str(folder))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    return folder


@pytest.fixture
def discovered() -> Callable[[Path], Policy]:
    """Reads the policy in a folder, as an entry `sample` of a build.yaml finds it."""

    def read(folder: Path) -> Policy:
        entry = Entry("sample", Kind.FILE_PATH, "sample", 1)
        return discover_policy(entry, Origin(Kind.FILE_PATH, "sample", "sample", folder, "sample"))

    return read


def write_wheel(folder: Path, name: str, version: str) -> None:
    """A package of one module that says its VERSION."""
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{module}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{module}.py", f'VERSION = "{version}"\n')
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", f"{module}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
