"""The images under test, built once for all checks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from e2e.image.container import Container, run_container
from e2e.image.engine import build_image, install, make_base
from e2e.kit.upstream import Upstream


@pytest.fixture(scope="session")
def container_engine() -> None:
    install()
    make_base()


@pytest.fixture(scope="session")
def image(container_engine: None) -> str:  # noqa: ARG001
    """The stock build."""
    return build_image("gatewright:test")


@pytest.fixture(scope="session")
def go_only_image(container_engine: None) -> str:  # noqa: ARG001
    return build_image("gatewright:go-only", "e2e/lifecycle/build-go-only.yaml")


@pytest.fixture(scope="session")
def shared_container(image: str) -> Iterator[Container]:
    with run_container(image) as container:
        yield container


@pytest.fixture(scope="session")
def upstream() -> Iterator[Upstream]:
    with Upstream() as recording:
        yield recording
