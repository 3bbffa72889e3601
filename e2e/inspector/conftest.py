"""A gateway for the Inspector's tests alone, and a browser that is signed in at its controller.

`page` is wide and light, `narrow` is narrow; `accessibility.check_looks` gives a page each look in turn.
Each is a new page, and fails the test if the page had faults (`Faults`).
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from e2e.inspector.chromium import NARROW, WIDE, Faults, Look, SharedContexts, open_context, run_browser
from e2e.inspector.lone_controller import LoneController
from e2e.inspector.pages import inspector_of, management_token, sign_in
from e2e.inspector.pretended_node import PretendedNode
from e2e.inspector.sample import deploy, sample_apis
from e2e.inspector.sample_documents import well
from e2e.inspector.screenshots import Screenshots
from e2e.kit.gateway import Gateway, running
from e2e.kit.places import ROOT
from e2e.kit.upstream import Upstream

HERE = Path(__file__).resolve().parent
expect.set_options(timeout=20_000)  # on a busy machine
PRETENDED_TOKEN = "the-token-of-a-controller-with-a-pretended-node"  # noqa: S105
PretendedPage = tuple[Page, PretendedNode]
Pretended = Callable[..., PretendedPage]
KeptNode = tuple[str, PretendedNode]
Documents = Mapping[str, str]
Looking = Callable[[Look, Documents], Page]
Open = Callable[[Look, str], Page]


def pytest_addoption(parser: pytest.Parser) -> None:
    with contextlib.suppress(ValueError):  # components' tests have the same option
        parser.addoption("--update", action="store_true", help="write the screenshots anew")


@pytest.fixture(scope="package")
def inspected_build() -> Path:
    """The build output of e2e/inspector/build.yaml."""
    output = ROOT / "build" / "inspector"
    command = ["gatewright", "build", "--manifest", str(HERE / "build.yaml"), "--output", str(output)]
    subprocess.run(command, check=True)
    return output


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    """One browser for all tests of this folder, but not of the session: others call asyncio.run in the same thread."""
    with run_browser() as browser:
        yield browser


@pytest.fixture(scope="package")
def contexts(chromium: Browser) -> Iterator[SharedContexts]:
    shared = SharedContexts(chromium)
    yield shared
    shared.close()


@pytest.fixture(scope="package")
def inspected_upstream() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream


@pytest.fixture(scope="package")
def sample_gateway(
    chromium: Browser,  # noqa: ARG001 - first, or a gateway would start for tests that are skipped
    inspected_build: Path,
    inspected_upstream: Upstream,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Gateway]:
    with running(inspected_build, tmp_path_factory.mktemp("state"), "--node-id", "node-1") as gateway:
        deploy(gateway, sample_apis(inspected_upstream.url))
        yield gateway


@pytest.fixture
def gateway(sample_gateway: Gateway) -> Gateway:
    """The Inspector's own, with the sample APIs (`sample.py`): what a test adds it removes, and it kills nothing."""
    return sample_gateway


@pytest.fixture
def upstream(inspected_upstream: Upstream) -> Iterator[Upstream]:
    inspected_upstream.reset()
    yield inspected_upstream
    inspected_upstream.reset()


@pytest.fixture
def faults() -> Iterator[Faults]:
    """The faults of pages; `faults.allow(PATTERN)` is for errors that the test provokes."""
    faults = Faults()
    yield faults
    faults.check()


@pytest.fixture
def lone_controller(inspected_build: Path, tmp_path: Path) -> Iterator[LoneController]:
    """A controller with the sample policies, not yet started, for tests that stop it."""
    controller = LoneController(inspected_build / "policy-definitions", tmp_path)
    yield controller
    controller.stop()


@pytest.fixture
def open_page(
    chromium: Browser,
    faults: Faults,
    lone_controller: LoneController,  # noqa: ARG001 - pages are closed before it stops
) -> Iterator[Open]:
    """`open_page(look, origin)` opens a page that is at no address yet, in a context of its own: for tests that sign in
    by themselves, or whose controller is their own.
    """
    with contextlib.ExitStack() as pages:
        yield lambda look, origin: pages.enter_context(open_context(chromium, look, origin, faults))


@pytest.fixture
def next_page(contexts: SharedContexts, faults: Faults) -> Iterator[Open]:
    """As `open_page`, in a context that tests share one after the other."""
    with contextlib.ExitStack() as pages:
        yield lambda look, origin: pages.enter_context(contexts.opened(look, origin, faults))


@pytest.fixture
def pretended_nodes(lone_controller: LoneController) -> Iterator[contextlib.ExitStack]:  # noqa: ARG001 - stops after them
    with contextlib.ExitStack() as nodes:
        yield nodes


@pytest.fixture
def pretend(
    pretended_nodes: contextlib.ExitStack, open_page: Open, lone_controller: LoneController
) -> Pretended:  # pages are closed before their node goes
    """`pretend(look, documents)` signs in at a controller with the sample APIs and one node. documents: the
    node's documents; a test may change them. rejects: APIs that the node does not run, and the reasons.
    """

    def made(look: Look, documents: Documents, rejects: Mapping[str, str] | None = None) -> PretendedPage:
        node = node_with_samples(lone_controller, documents, rejects or {})
        pretended_nodes.enter_context(node.connected())
        return sign_in(open_page(look, lone_controller.origin), lone_controller.origin, PRETENDED_TOKEN), node

    return made


def node_with_samples(controller: LoneController, documents: Documents, rejects: Mapping[str, str]) -> PretendedNode:
    """Starts the controller, with the sample APIs; the node that it is to have."""
    with controller.start(PRETENDED_TOKEN).client() as client:
        for api in sample_apis("http://127.0.0.1:1"):
            assert client.post("/v1/apis", json=api).status_code == 201
    return PretendedNode(controller, "pretended", documents, rejects)


@pytest.fixture(scope="module")
def kept_node(inspected_build: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeptNode]:
    """A node that tests of a file share, and its controller's origin."""
    controller = LoneController(inspected_build / "policy-definitions", tmp_path_factory.mktemp("kept"))
    try:
        node = node_with_samples(controller, well(), {})
        with node.connected():
            yield controller.origin, node
    finally:
        controller.stop()


@pytest.fixture
def show_node(kept_node: KeptNode, next_page: Open) -> Looking:
    """`show_node(look, documents)` is a page of `pretend`, for tests that only look: they share a controller."""
    origin, node = kept_node

    def made(look: Look, documents: Documents) -> Page:
        node.documents = dict(documents)
        return sign_in(next_page(look, origin), origin, PRETENDED_TOKEN)

    return made


@pytest.fixture
def page(next_page: Open, sample_gateway: Gateway) -> Page:
    """1280×800, light, signed in, at `#/`."""
    return open_signed_in(next_page, WIDE, sample_gateway)


@pytest.fixture
def narrow(next_page: Open, sample_gateway: Gateway) -> Page:
    """360×740."""
    return open_signed_in(next_page, NARROW, sample_gateway)


def open_signed_in(open_page: Open, look: Look, gateway: Gateway) -> Page:
    origin = inspector_of(gateway)
    return sign_in(open_page(look, origin), origin, management_token(gateway))


@pytest.fixture
def screenshot(request: pytest.FixtureRequest) -> Screenshots:
    """`screenshot(page, "nodes", mask=[page.locator(".chart")])` compares with screenshots/nodes-LOOK.png."""
    return Screenshots(update=bool(request.config.getoption("--update", default=False)))
