"""What all tests share: a property test draws the same input each time, on each machine, whatever ran before it.

`make fuzz` draws other input, by a profile of its own (tools/fuzz.py); what it finds becomes an `@example` of the test.
"""

from __future__ import annotations

import functools
import gc
import os
import ssl
from collections.abc import Iterator

os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"  # whose handlers end a child where threads of an earlier test are in gRPC

import certifi
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers
from hypothesis.internal.constants_ast import Constants

if "GATEWRIGHT_FUZZ_DRAWS" not in os.environ:
    settings.register_profile(
        "tests",
        settings.get_profile("default"),
        derandomize=True,
        database=None,
        deadline=None,  # it would say how busy the machine is, and so would `too_slow`
        suppress_health_check=[HealthCheck.too_slow],
        print_blob=True,
    )
    settings.load_profile("tests")
    no_constants = Constants()
    providers._get_local_constants = lambda: no_constants  # else it draws what the modules have that others loaded


ENGINE = "GATEWRIGHT_ENGINE"
"""The variable by which `gatewright run` and `gatewright build` decide where the policy engine runs."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--engine",
        choices=["ext-proc", "in-envoy"],
        help="where the policy engine of gateways runs that tests start (default: where GATEWRIGHT_ENGINE says)",
    )


def pytest_configure(config: pytest.Config) -> None:
    if engine := config.getoption("--engine"):
        os.environ[ENGINE] = engine


@pytest.fixture(scope="session", autouse=True)
def _one_context_of_all_authorities() -> Iterator[None]:
    """httpx.get reads all root certificates for each request: 30 ms of CPU, where plain HTTP takes one."""
    create = ssl.create_default_context
    shared = functools.cache(create)
    of_httpx = {"cafile": os.environ.get("SSL_CERT_FILE") or certifi.where()}

    def create_or_share(*arguments: object, **options: object) -> ssl.SSLContext:
        return (shared if (arguments, options) == ((), of_httpx) else create)(*arguments, **options)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ssl, "create_default_context", create_or_share)
        yield


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Collects no garbage meanwhile, and leaves what lives then out of each later collection.

    Imported modules and collected tests live as long as the process: the garbage collector would traverse a million
    objects again and again, and find nothing.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests of a file run in random order, unless the file says by `in_order(REASON)` why they do not."""
    places = [place for place, item in enumerate(items) if item.get_closest_marker("in_order")]
    ordered = sorted((items[place] for place in places), key=lambda item: (item.path, item.location[1] or 0))
    for place, item in zip(places, ordered, strict=True):
        items[place] = item
