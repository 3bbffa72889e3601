"""One build with every policy of the tests, and one gateway that most of them share."""

from __future__ import annotations

import functools
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import load_tool
from e2e.kit.gateway import Gateway, running
from e2e.kit.places import MANIFEST, ROOT
from e2e.kit.upstream import Upstream

FIRST = (
    "test_prometheus", "test_slow_policy_docs", "test_live_changes", "test_listeners", "test_groups", "test_metrics",
    "test_http3_node", "test_logs", "test_log_levels", "test_samples", "test_conformance", "test_name_servers",
    "test_executors", "test_definitions", "test_isolation", "test_lifetimes", "test_incremental", "test_acme",
)  # fmt: skip
"""The files that take longest, or wait most: begun last, one of them would run alone at the end."""
pytest.register_assert_rewrite("e2e.edge.passing", "e2e.kit.conversation")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """`make test` gives files to its workers in this order."""
    order = {name: number for number, name in enumerate(FIRST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Why a test ran again: one that passed at its second try has shown something too."""
    for report in terminalreporter.stats.get("rerun", []):
        terminalreporter.write_sep("_", f"first try of {report.nodeid}")
        terminalreporter.write_line(report.longreprtext)


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
    """The build output of e2e/kit/build.yaml; costs nothing when nothing has changed."""
    output = ROOT / "build" / "e2e"
    subprocess.run(["gatewright", "build", "--manifest", str(MANIFEST), "--output", str(output)], check=True)
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
def upstream(recording_upstream: Upstream) -> Iterator[Upstream]:
    """What a test has it reply ends with the test: the gateways of other files send there too."""
    recording_upstream.reset()
    yield recording_upstream
    recording_upstream.reset()
