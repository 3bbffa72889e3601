from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from gatewright_controller.definitions import Definitions, load_definitions
from gatewright_controller.model import JsonObject

TESTDATA = Path(__file__).parent / "testdata"


def pytest_addoption(parser: pytest.Parser) -> None:
    with contextlib.suppress(ValueError):  # another component's tests have it too
        parser.addoption("--update", action="store_true", help="rewrite the golden files with what the code makes")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def testdata() -> Path:
    return TESTDATA


@pytest.fixture(scope="session")
def definitions() -> Definitions:
    return load_definitions(TESTDATA / "definitions", {"guard": {"issuer": "https://id.example"}})


@pytest.fixture
def orders() -> JsonObject:
    """A small valid API; tests change what they are about."""
    return {
        "apiVersion": "gatewright.dev/v1",
        "kind": "Api",
        "metadata": {"name": "orders-v1"},
        "spec": {
            "version": "v1.0",
            "context": "/orders/$version",
            "upstream": {"main": {"url": "http://orders.internal:8080/api"}},
            "policies": [{"name": "log-message", "version": "v1"}],
            "operations": [
                {"method": "GET", "path": "/{id}"},
                {"method": "POST", "path": "/", "policies": [{"name": "rewrite-body", "version": "v1"}]},
            ],
        },
    }
