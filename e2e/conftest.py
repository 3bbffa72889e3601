"""One build with every policy of the tests, and one gateway that most of them share."""

from __future__ import annotations

import functools
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import load_tool
from e2e.gateway import Gateway, running
from e2e.upstream import Upstream

HERE = Path(__file__).resolve().parent
pytest.register_assert_rewrite("e2e.passing")


@pytest.fixture(scope="session", autouse=True)
def _one_ssl_context() -> Iterator[None]:
    """httpx.get reads all root certificates for each request: 30 ms of CPU, where plain HTTP takes one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ssl, "create_default_context", functools.cache(ssl.create_default_context))
        yield


@pytest.fixture(scope="session")
def tool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The load generator of bench/load."""
    return load_tool.build(tmp_path_factory.mktemp("load"))


@pytest.fixture(scope="session")
def build() -> Path:
    """The build output of e2e/build.yaml; costs nothing when nothing has changed."""
    output = HERE.parent / "build" / "e2e"
    subprocess.run(["gatewright", "build", "--manifest", str(HERE / "build.yaml"), "--output", str(output)], check=True)
    return output


@pytest.fixture(scope="session")
def shared_gateway(build: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running(build, tmp_path_factory.mktemp("state")) as gateway:
        yield gateway


@pytest.fixture(scope="session")
def recording_upstream() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream


@pytest.fixture
def gateway(shared_gateway: Gateway) -> Gateway:
    """A gateway that other tests use too: deploy under a name of your own, kill nothing."""
    return shared_gateway


@pytest.fixture
def upstream(recording_upstream: Upstream) -> Upstream:
    recording_upstream.reset()
    return recording_upstream
