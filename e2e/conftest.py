"""One build with every policy of the tests, and one gateway that most of them share."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import load_tool
from e2e.kit.engine_differences import expect_differences
from e2e.kit.gateway import Gateway, running
from e2e.kit.shared_build import IN_ENVOY, build_output, is_engine_in_envoy, require_c_compiler
from e2e.kit.upstream import Upstream, echo

pytest.register_assert_rewrite("e2e.edge.passing", "e2e.kit.conversation")


def pytest_addoption(parser: pytest.Parser) -> None:
    with contextlib.suppress(ValueError):  # another component's tests have it too
        parser.addoption("--update", action="store_true", help="rewrite pages with what came of what they say")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if is_engine_in_envoy():
        expect_differences(items)


@pytest.fixture(scope="session")
def tool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The load generator of bench/load."""
    return load_tool.build(tmp_path_factory.mktemp("load"))


@pytest.fixture(scope="session", autouse=True)
def _engine_can_be_compiled() -> None:
    if is_engine_in_envoy():
        require_c_compiler()


@pytest.fixture(scope="session")
def build() -> Path:
    """The build output of e2e/kit/build.yaml; costs nothing when nothing has changed."""
    return build_output()


@pytest.fixture(scope="session")
def module_build() -> Path:
    """The same with the engine for Envoy, whatever the engine of the other tests."""
    require_c_compiler()
    return build_output(IN_ENVOY)


@pytest.fixture(scope="session")
def shared_gateway(build: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running(build, tmp_path_factory.mktemp("state")) as gateway:
        yield gateway


@pytest.fixture(scope="session")
def recording_upstream() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream


@pytest.fixture(autouse=True)
def _upstream_is_left_as_it_was(request: pytest.FixtureRequest) -> Iterator[None]:
    """Begun first, so ended last: what the test's other fixtures have it reply must have ended by then."""
    upstream = request.getfixturevalue("recording_upstream") if "recording_upstream" in request.fixturenames else None
    yield
    assert upstream is None or upstream.reply is echo, "left a reply behind: set it by `upstream`, or reset it"


@pytest.fixture
def gateway(shared_gateway: Gateway) -> Gateway:
    """A gateway that other tests use too: deploy under a name of your own, kill nothing."""
    return shared_gateway


@pytest.fixture
def upstream(recording_upstream: Upstream) -> Iterator[Upstream]:
    """A reply set by a test ends with the test: the gateways of other files use the upstream too."""
    recording_upstream.reset()
    yield recording_upstream
    recording_upstream.reset()
