"""Reloads that get into each other's way: a newer one takes an older one's place until that has reached the engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from gatewright_cli.builds.build_runs import BuildRefusedError, BuildRuns
from gatewright_cli.builds.generation import Generation, Generations
from gatewright_cli.clients.controller_refusals import DeployError, NoAnswerError
from gatewright_cli.clients.management import ApiDocument, Management, PolicyImpact
from gatewright_cli.node.executors.replacement import Executors
from gatewright_cli.node.phase_times import PhaseTimes
from gatewright_cli.run import reloading
from gatewright_cli.run.reloading import Reloaded, ReloadError, Reloads

from cli.tests.outputs import policy, write_output

if TYPE_CHECKING:
    from cli.tests.conftest import Bench


HELLO = ApiDocument("hello", "apis/hello.yaml", "kind: Api")


class Builds(BuildRuns):
    """Each build waits until it is let go, and then has the next source."""

    def __init__(self, bench: Bench) -> None:
        self._folder = bench.folder / "build"
        self.begun = self.ended = self.cancelled = 0
        self.go = asyncio.Event()
        self.refusal: list[str] = []

    async def build(self, say: Callable[[str], None], wait: Callable[[str, float], None]) -> list[str]:
        self.begun += 1
        number = self.begun
        say(f"build {number}")
        wait("importing one:v1.0.0", 4.0)
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        self.ended += 1
        if self.refusal:
            raise BuildRefusedError(self.refusal)
        write_output(self._folder, policy("one", sourceDigest=str(number)))
        return [f"a note of build {number}"]

    async def close(self) -> None: ...


class Taking(Executors):
    """Executors that take a generation over when they are let go; whether they had got as far as the engine."""

    def __init__(self, first: Generation) -> None:
        self.generation = first
        self.reached = asyncio.Event()
        self.go = asyncio.Event()
        self.go.set()

    async def switch_to(  # type: ignore[override]
        self,
        generation: Generation,
        spent: PhaseTimes,
        before_deploy: Callable[[], None],
        *,
        superseded: Sequence[str] = (),  # noqa: ARG002 - the engine's business
    ) -> None:
        with spent.measure("executors"):
            before_deploy()
            self.reached.set()
            await self.go.wait()
        self.generation = generation

    async def finish(self, seconds: float = 0.0) -> None:
        """Nothing: the engine is a process of its own."""


class Stored(Management):
    """A controller's client that records the APIs it should store. refusals: for the first requests."""

    def __init__(self, *refusals: DeployError) -> None:
        self.requests: list[list[ApiDocument]] = []
        self._refusals = list(refusals)

    async def check_policies(self, definitions: Path, apis: Sequence[ApiDocument] = ()) -> PolicyImpact:
        assert definitions.is_dir()
        assert list(apis) == [HELLO]
        return PolicyImpact()

    async def reload_policies(self, apis: Sequence[ApiDocument] = ()) -> PolicyImpact:
        self.requests.append(list(apis))
        if self._refusals:
            raise self._refusals.pop(0)
        return PolicyImpact()


class Run:
    """A run's reloads, with their collaborators."""

    def __init__(self, bench: Bench, stored: Stored | None = None) -> None:
        self.bench, self.builds = bench, Builds(bench)
        self.stored = stored or Stored()
        self.generations = Generations.open(write_output(bench.folder / "build", policy("one", sourceDigest="0")))
        self.executors = Taking(self.generations.first())
        self.reloads = Reloads(self.generations, self.executors, bench.output, self.builds, stored)
        self.steps: list[str] = []

    async def __aenter__(self) -> Run:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.reloads.close()
        self.generations.close()

    async def begin(self) -> asyncio.Task[Reloaded]:
        """A reload whose build has begun."""
        before = self.builds.begun
        task = asyncio.create_task(self.reloads.reload(self.steps.append))
        await self.bench.until(lambda: self.builds.begun > before)
        return task

    def files(self) -> list[str]:
        return sorted(path.name for path in (self.bench.folder / "build").glob("generations/*/[0-9]*"))


def test_the_log_of_a_reload(bench: Bench) -> None:
    async def live() -> None:
        async with Run(bench) as run:
            run.builds.go.set()
            done = await (await run.begin())
            assert (done.generation, done.notes) == (2, ("a note of build 1",))
            assert (done.changed.policies, done.changed.restarts) == (("one:v1.0.0",), ("default",))
            assert list(done.spent) == ["build", "files", "executors", "controller"]
            waited = "importing one:v1.0.0 … 4 s"
            assert run.steps == ["building", "build 1", waited, "starting new executors of default"]

    bench.run(live())
    log = bench.output.text()
    assert '"the reload waits for the build: importing one:v1.0.0","since":"4s"' in log
    assert '"changed":["one:v1.0.0"],"restarted":["default"]' in log


def test_a_newer_reload_takes_the_place_of_one_that_builds(bench: Bench) -> None:
    async def live() -> None:
        async with Run(bench) as run:
            older, newer = await run.begin(), await run.begin()
            assert run.builds.cancelled == 1
            at_once = [asyncio.create_task(run.reloads.reload()) for _ in range(3)]
            await run.bench.until(lambda: run.builds.cancelled == 2)
            run.builds.go.set()
            assert {done.generation for done in await asyncio.gather(older, newer, *at_once)} == {2}
            assert run.builds.ended == 1

    bench.run(live())
    assert "refused" not in bench.output.text()


def test_a_reload_that_has_reached_the_engine_is_waited_for(bench: Bench) -> None:
    async def live() -> None:
        async with Run(bench) as run:
            run.builds.go.set()
            run.executors.go.clear()
            older = await run.begin()
            await run.executors.reached.wait()
            newer = asyncio.create_task(run.reloads.reload())
            newest = asyncio.create_task(run.reloads.reload())
            await asyncio.sleep(0)
            assert run.builds.begun == 1
            run.executors.go.set()
            assert (await older).generation == 2
            assert [done.generation for done in await asyncio.gather(newer, newest)] == [3, 3]
            assert run.builds.begun == 2

    bench.run(live())


def test_a_reload_that_brings_apis_is_waited_for_and_the_others_behind_it_become_one(bench: Bench) -> None:
    """A newer reload would not store the APIs."""

    async def live() -> None:
        async with Run(bench, Stored()) as run:
            bringing = asyncio.create_task(run.reloads.reload(apis=[HELLO]))
            await run.bench.until(lambda: run.builds.begun == 1)
            saved, again = (asyncio.create_task(run.reloads.reload()) for _ in range(2))
            await asyncio.sleep(0)
            assert (run.builds.begun, run.builds.cancelled) == (1, 0)
            run.builds.go.set()
            assert ((await bringing).generation, (await bringing).apis) == (2, ("hello",))
            assert [done.generation for done in await asyncio.gather(saved, again)] == [3, 3]
            assert run.builds.begun == 2
            assert run.stored.requests == [[HELLO], []]

    bench.run(live())
    assert '"apis":["hello"]' in bench.output.text()


def test_apis_whose_policies_serve_are_stored_as_soon_as_the_controller_is_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reloading, "RETRY_SECONDS", 0.01)

    async def live() -> None:
        async with Run(bench, Stored(NoAnswerError("it is away"), NoAnswerError("still"))) as run:
            run.builds.go.set()
            assert (await run.reloads.reload(apis=[HELLO])).generation == 2
            assert run.stored.requests == [[HELLO]] * 3

    bench.run(live())


def test_apis_that_were_not_stored_are_reported_with_the_state_of_the_policies(bench: Bench) -> None:
    async def live() -> None:
        async with Run(bench, Stored(DeployError("no room"), DeployError("no room"))) as run:
            run.builds.go.set()
            with pytest.raises(ReloadError) as switched:
                await run.reloads.reload(apis=[HELLO])
            cure = "the policies are reloaded, the APIs are not: give the same command again"
            assert (switched.value.reasons, run.executors.generation.number) == ([cure, "no room"], 2)
            run.builds.begun = 0  # the same source again
            with pytest.raises(ReloadError) as same:
                await run.reloads.reload(apis=[HELLO])
            assert same.value.reasons == ["no room"]

    bench.run(live())


def test_a_run_without_a_controller_takes_no_apis(bench: Bench) -> None:
    async def live() -> None:
        async with Run(bench) as run:
            with pytest.raises(ReloadError, match="the run has no controller to take APIs"):
                await run.reloads.reload(apis=[HELLO])
            assert run.builds.begun == 0

    bench.run(live())


def test_the_refusal_of_the_newest_reload_reaches_all_callers(bench: Bench) -> None:
    async def live() -> None:
        async with Run(bench) as run:
            older, newer = await run.begin(), await run.begin()
            run.builds.refusal = ["policy.py:3: this"]
            run.builds.go.set()
            for task in (older, newer):
                with pytest.raises(ReloadError, match=r"policy\.py:3: this"):
                    await task
            assert run.executors.generation.number == 1

    bench.run(live())
    assert bench.output.text().count("reload refused") == 1


def test_an_internal_fault_is_a_refusal_that_says_so(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """For every caller: the watcher and the signal handler go on with the next reload."""

    async def live() -> None:
        async with Run(bench) as run:

            def full(_present: Generation) -> Generation:
                raise OSError(28, "No space left on device")

            run.builds.go.set()
            with monkeypatch.context() as patch:
                patch.setattr(run.generations, "next", full)
                with pytest.raises(ReloadError, match=r"a fault of Gatewright's own: .*No space left on device"):
                    await (await run.begin())
            assert (await (await run.begin())).generation == 2

    bench.run(live())
    assert "reload refused: a fault of Gatewright's own" in bench.output.text()


def test_a_build_without_a_change_makes_no_generation(bench: Bench) -> None:
    async def live() -> None:
        async with Run(bench) as run:
            run.builds.go.set()
            assert (await (await run.begin())).generation == 2
            run.builds.begun = 0  # the same source again
            done = await (await run.begin())
            assert (done.generation, bool(done.changed)) == (2, False)
            assert len(run.files()) == 2  # the first one is Executors' to let go

    bench.run(live())
    assert "nothing to reload" in bench.output.text()


def test_a_stop_ends_a_reload_that_builds(bench: Bench) -> None:
    async def live() -> None:
        async with Run(bench) as run:
            waits = await run.begin()
            await run.reloads.close()
            with pytest.raises(asyncio.CancelledError):
                await waits
            assert run.builds.cancelled == 1

    bench.run(live())
