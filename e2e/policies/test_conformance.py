"""A Go policy and its Python twin are promised the same: conformance/, with one executor process and with several."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import httpx
import pytest

from e2e.kit.conformance import Case, ask, chain_cases, check, document, table_cases, write_twins
from e2e.kit.engine_differences import differs_in_envoy
from e2e.kit.gateway import Gateway, running
from e2e.kit.places import ROOT
from e2e.kit.upstream import Upstream


@dataclass(frozen=True)
class Run:
    """The runtimes of a chain's policies, in turn; how many executor processes there are."""

    runtimes: tuple[str, ...]
    processes: int

    @property
    def name(self) -> str:
        return f"{'-'.join(self.runtimes)}-{self.processes}"

    def cases(self) -> list[Case]:
        """Those of the tables in one process: what an action may be is no matter of how many there are. Of those with
        one policy no mixed chain can be made.
        """
        cases = [*chain_cases(), *(table_cases() if self.processes == 1 else ())]
        return [case for case in cases if len(case.policies) >= len(self.runtimes)]


EMPTY = "A header that a policy sets to nothing is not sent; by ext_proc it is sent without a value."
RUNS = (Run(("go",), 1), Run(("python",), 1), Run(("python",), 3), Run(("go", "python"), 3))


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[int], Gateway]]:
    """A gateway with so many executor processes, one for all that ask for the same."""
    manifest = write_twins(tmp_path_factory.mktemp("twins"))
    output = ROOT / "build" / "e2e-conformance"  # the same each time, so that Go is compiled once
    arguments = ["--manifest", str(manifest), "--output", str(output), "--pe.log-level", "debug"]
    started: dict[int, Gateway] = {}
    with ExitStack() as stack:

        def of(processes: int) -> Gateway:
            if processes not in started:
                more = [*arguments, "--executors", str(processes)]
                started[processes] = stack.enter_context(running(None, tmp_path_factory.mktemp("state"), *more))
            return started[processes]

        yield of


@pytest.fixture(scope="module")
def deployed_run(
    request: pytest.FixtureRequest, start: Callable[[int], Gateway], recording_upstream: Upstream
) -> tuple[Run, Gateway]:
    run: Run = request.param
    gateway = start(run.processes)
    gateway.deploy(document(run.cases(), run.runtimes, recording_upstream.url))
    return run, gateway


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    """One client for all cases: to make one takes longer than a case."""
    with httpx.Client(timeout=30) as client:
        yield client


@pytest.mark.parametrize(
    ("deployed_run", "case"),
    [
        pytest.param(
            run,
            case,
            id=f"{run.name}-{case.name}",
            marks=[differs_in_envoy(EMPTY)] if case.name == "taken-headerValue-0" else [],
        )
        for run in RUNS
        for case in run.cases()
    ],
    indirect=["deployed_run"],
    scope="module",
)
def test_the_gateway_conforms_to_the_case(
    deployed_run: tuple[Run, Gateway], client: httpx.Client, upstream: Upstream, case: Case
) -> None:
    run, gateway = deployed_run
    for _ in range(run.processes):  # each may be another process's
        check(gateway, case, ask(client, gateway, upstream, case))


def test_cases_of_all_files_and_tables_are_read() -> None:
    assert {"the-request", "an-answer-ends-the-request", "raises-and-goes-on"} <= {case.name for case in chain_cases()}
    assert {"taken-authority-0", "refused-onRequest-host"} <= {case.name for case in table_cases()}
