from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING

import pytest
from gatewright_cli.run.level import Level
from gatewright_cli.run.log_levels import LogLevels, NotAppliedError
from gatewright_cli.supervision.probes import Answers
from gatewright_cli.supervision.specs import ProcessSpec

if TYPE_CHECKING:
    from cli.tests.conftest import Bench

STARTED = {"supervisor": "info", "policy-engine": "info", "python-executor": "warning", "envoy": "warning"}

KNOWN = "expected a component of this run, supervisor, python-executor, policy-engine, envoy, envoy.PART"
LOUD = "trace, debug, info, warning, error, critical, off"


class Processes:
    """What each component logs from, as it was told last. away: they do not answer. told: set after each."""

    def __init__(self) -> None:
        self.levels: dict[str, Mapping[str, str]] = {}
        self.away: set[str] = set()
        self.tries = 0
        self.told = asyncio.Event()

    async def apply(self, component: str, levels: Mapping[str, str]) -> None:
        self.tries += 1
        if component in self.away:
            raise NotAppliedError("it gave no answer")
        self.levels[component] = dict(levels)
        self.told.set()


def live(
    bench: Bench, steps: Callable[[LogLevels, Processes], Coroutine[None, None, None]], again_seconds: float = 1.0
) -> None:
    async def run() -> None:
        processes = Processes()
        levels = LogLevels(STARTED, processes.apply, bench.output, again_seconds)
        await steps(levels, processes)
        levels.close()

    bench.run(run())


def test_what_is_set_counts_for_processes_that_are_started_later(bench: Bench) -> None:
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
        assert levels.shown() == [
            Level("supervisor", "info"), Level("python-executor", "warning"), Level("policy-engine", "info"),
            Level("envoy", "warning"), Level("envoy.ext_proc", "debug"),
        ]  # fmt: skip

    live(bench, steps)


def test_what_is_set_for_a_time_goes_back_to_what_was_set_before(bench: Bench) -> None:
    async def steps(levels: LogLevels, processes: Processes) -> None:
        await levels.change({"policy-engine": "error"})
        assert await levels.change({"policy-engine": "debug", "envoy.http": "debug"}, 0.01) == []
        shown = {one.component: one for one in levels.shown()}
        assert (shown["policy-engine"].level, shown["policy-engine"].then) == ("debug", "error")
        assert shown["policy-engine"].until.endswith("Z")
        while (
            processes.levels["policy-engine"]["policy-engine"] != "error" or "envoy.http" in processes.levels["envoy"]
        ):
            processes.told.clear()
            await processes.told.wait()
        assert {one.component: one.level for one in levels.shown()} == STARTED | {"policy-engine": "error"}

    live(bench, steps)


def test_what_is_set_anew_does_not_go_back(bench: Bench) -> None:
    async def steps(levels: LogLevels, _: Processes) -> None:
        await levels.change({"supervisor": "debug"}, 3600)
        (timer,) = [task for task in asyncio.all_tasks() if task.get_name() == "log level of supervisor"]
        await levels.change({"supervisor": "error"})
        await asyncio.wait({timer})
        assert timer.cancelled()
        assert levels.shown()[0] == Level("supervisor", "error")

    live(bench, steps)


def test_one_that_does_not_answer_keeps_its_level_and_says_why(bench: Bench) -> None:
    async def steps(levels: LogLevels, processes: Processes) -> None:
        processes.away = {"envoy"}
        reasons = await levels.change({"envoy": "debug", "supervisor": "debug"})
        assert reasons == ["envoy: it gave no answer"]
        assert {one.component: one.level for one in levels.shown()} == STARTED | {"supervisor": "debug"}

    live(bench, steps)


def test_one_that_is_away_when_the_time_is_over_is_asked_again(bench: Bench) -> None:
    async def steps(levels: LogLevels, processes: Processes) -> None:
        await levels.change({"envoy": "debug"}, 0.001)
        processes.away, before = {"envoy"}, processes.tries
        while processes.tries < before + 3:
            await asyncio.sleep(0)
        assert levels.shown()[-1] == Level("envoy", "warning"), "expected one that starts now to have it"
        processes.away.clear()
        processes.told.clear()
        await processes.told.wait()
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
def test_mistakes_are_told_and_nothing_is_changed(bench: Bench, target: str, level: str, mistake: str) -> None:
    async def steps(levels: LogLevels, processes: Processes) -> None:
        assert await levels.change({"supervisor": "debug", target: level}) == [mistake]
        assert processes.tries == 0

    live(bench, steps)
