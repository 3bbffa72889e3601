from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING

import pytest
from gatewright_cli.run.logs.level import Level
from gatewright_cli.run.logs.levels import LogLevels, NotAppliedError
from gatewright_cli.supervision.probes import Answers
from gatewright_cli.supervision.specs import ProcessSpec

if TYPE_CHECKING:
    from cli.tests.conftest import Bench

STARTED = {"supervisor": "info", "policy-engine": "info", "python-executor": "warning", "envoy": "warning"}

KNOWN = "expected a component of this run, supervisor, python-executor, policy-engine, envoy, envoy.PART"
LOUD = "trace, debug, info, warning, error, critical, off"


class Processes:
    """The last level applied to each component. away: those that do not answer. applied: set after each change."""

    def __init__(self) -> None:
        self.levels: dict[str, Mapping[str, str]] = {}
        self.away: set[str] = set()
        self.tries = 0
        self.applied = asyncio.Event()

    async def apply(self, component: str, levels: Mapping[str, str]) -> None:
        self.tries += 1
        if component in self.away:
            raise NotAppliedError("it gave no answer")
        self.levels[component] = dict(levels)
        self.applied.set()


def live(
    bench: Bench, steps: Callable[[LogLevels, Processes], Coroutine[None, None, None]], again_seconds: float = 1.0
) -> None:
    async def run() -> None:
        processes = Processes()
        levels = LogLevels(STARTED, processes.apply, bench.output, again_seconds)
        await steps(levels, processes)
        levels.close()

    bench.run(run())


def test_a_level_applies_to_processes_that_start_later(bench: Bench) -> None:
    async def steps(levels: LogLevels, processes: Processes) -> None:
        engine = ProcessSpec(
            "engine", ("engine", "--log-level", "info", "--x", "y"), Answers("/"), component="policy-engine"
        )
        envoy = ProcessSpec("envoy", ("envoy", "--log-level", "warning"), Answers("/"))
        echo = ProcessSpec("echo", ("echo",), Answers("/"))
        assert [levels.started_with(spec) for spec in (engine, envoy, echo)] == [engine, envoy, echo]
        assert await levels.change({"policy-engine": "debug", "envoy.http": "trace", "envoy.ext_proc": "debug"}) == []
        assert levels.started_with(engine).command == ("engine", "--log-level", "debug", "--x", "y")
        parts = ("--component-log-level", "ext_proc:debug,http:trace")
        assert levels.started_with(envoy).command == ("envoy", "--log-level", "warning", *parts)
        assert levels.started_with(echo) == echo
        assert processes.levels["policy-engine"]["policy-engine"] == "debug"
        assert processes.levels["envoy"]["envoy.ext_proc"] == "debug"
        assert await levels.change({"envoy.http": "default", "policy-engine": "default"}) == []
        assert levels.report() == [
            Level("supervisor", "info"), Level("python-executor", "warning"), Level("policy-engine", "info"),
            Level("envoy", "warning"), Level("envoy.ext_proc", "debug"),
        ]  # fmt: skip

    live(bench, steps)


def test_a_temporary_level_is_reset_to_the_previous_one(bench: Bench) -> None:
    async def steps(levels: LogLevels, processes: Processes) -> None:
        await levels.change({"policy-engine": "error"})
        assert await levels.change({"policy-engine": "debug", "envoy.http": "debug"}, 0.01) == []
        shown = {level.component: level for level in levels.report()}
        assert (shown["policy-engine"].level, shown["policy-engine"].then) == ("debug", "error")
        assert shown["policy-engine"].until.endswith("Z")
        while (
            processes.levels["policy-engine"]["policy-engine"] != "error" or "envoy.http" in processes.levels["envoy"]
        ):
            processes.applied.clear()
            await processes.applied.wait()
        assert {level.component: level.level for level in levels.report()} == STARTED | {"policy-engine": "error"}

    live(bench, steps)


def test_a_level_that_is_set_again_is_not_reset(bench: Bench) -> None:
    async def steps(levels: LogLevels, _: Processes) -> None:
        await levels.change({"supervisor": "debug"}, 3600)
        (timer,) = [task for task in asyncio.all_tasks() if task.get_name() == "log level of supervisor"]
        await levels.change({"supervisor": "error"})
        await asyncio.wait({timer})
        assert timer.cancelled()
        assert levels.report()[0] == Level("supervisor", "error")

    live(bench, steps)


def test_a_process_that_does_not_answer_keeps_its_level(bench: Bench) -> None:
    async def steps(levels: LogLevels, processes: Processes) -> None:
        processes.away = {"envoy"}
        reasons = await levels.change({"envoy": "debug", "supervisor": "debug"})
        assert reasons == ["envoy: it gave no answer"]
        assert {level.component: level.level for level in levels.report()} == STARTED | {"supervisor": "debug"}

    live(bench, steps)


def test_a_process_that_is_away_when_the_time_is_over_is_asked_again(bench: Bench) -> None:
    async def steps(levels: LogLevels, processes: Processes) -> None:
        await levels.change({"envoy": "debug"}, 0.001)
        processes.away, before = {"envoy"}, processes.tries
        while processes.tries < before + 3:
            await asyncio.sleep(0)
        assert levels.report()[-1] == Level("envoy", "warning"), "expected one that starts now to have it"
        processes.away.clear()
        processes.applied.clear()
        await processes.applied.wait()
        assert processes.levels["envoy"]["envoy"] == "warning"

    live(bench, steps, again_seconds=0.001)


@pytest.mark.parametrize(
    ("target", "level", "mistake"),
    [
        ("engine", "debug", f"{KNOWN}, got 'engine': call it policy-engine"),
        ("executor-default-0", "debug", f"{KNOWN}, got 'executor-default-0': call it python-executor"),
        ("controller", "debug", f"{KNOWN}, got 'controller'"),
        ("envoy.", "debug", f"{KNOWN}, got 'envoy.'"),
        ("policy-engine", "trace", "policy-engine: expected one of debug, info, warning, error, default, got 'trace'"),
        ("envoy", "loud", f"envoy: expected one of {LOUD}, default, got 'loud'"),
    ],
)  # fmt: skip
def test_mistakes_are_returned_and_nothing_is_changed(bench: Bench, target: str, level: str, mistake: str) -> None:
    async def steps(levels: LogLevels, processes: Processes) -> None:
        assert await levels.change({"supervisor": "debug", target: level}) == [mistake]
        assert processes.tries == 0

    live(bench, steps)
