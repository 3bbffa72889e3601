from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest
from gatewright_cli.builds.build_output import BuildOutput
from gatewright_cli.builds.generation import Generation
from gatewright_cli.clients.engine_admin import EngineAdmin, EngineRefusedError, ExecutorReport, ExecutorsReport
from gatewright_cli.node.executors.replacement import Executors
from gatewright_cli.node.files.run_dir import RunDir
from gatewright_cli.node.specs import bootstrap, processes
from gatewright_cli.node.specs.processes import NodeSettings
from gatewright_cli.supervision.managed_process import StartError
from gatewright_cli.supervision.probes import Accepts
from gatewright_cli.supervision.restarts import RestartPolicy
from gatewright_cli.supervision.specs import ProcessSpec
from gatewright_cli.supervision.supervisor import Supervisor

from cli.tests.outputs import LISTENS, policy, put, write_output

if TYPE_CHECKING:
    from cli.tests.conftest import Bench

SOON = RestartPolicy(first_delay=0.01, jitter=0.0)
HTTP = """
import http.server, os, socketserver, sys, threading
class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer): pass
class Handler(http.server.BaseHTTPRequestHandler):
    address_string = lambda self: ""
    log_message = lambda *_: None
    def do_GET(self):
        self.send_response(200); self.send_header("content-length", "0"); self.end_headers()
own, engine, log = sys.argv[1:]
module = os.environ["ENVOY_DYNAMIC_MODULES_SEARCH_PATH"] + "/libgatewright.so"
if open(module).read() == "broken": sys.exit("cannot load the engine")
open(log, "a").write(open(module).read() + "\\n")
threading.Thread(target=Server(engine, Handler).serve_forever, daemon=True).start()
Server(own, Handler).serve_forever()
"""


class Admin(EngineAdmin):
    """An engine that deploys executors, or refuses them, and releases processes when the test says so."""

    def __init__(self) -> None:
        self.refusal = ""
        self.deployed: list[tuple[int, dict[str, list[str]]]] = []
        self.has: set[str] = set()

    async def close(self) -> None: ...

    async def deploy(  # type: ignore[override]
        self, generation: int, manifest: Path, executors: dict[str, list[str]], superseded: Sequence[str] = ()
    ) -> None:
        assert manifest.exists()
        self.superseded = tuple(superseded)
        if self.refusal:
            raise EngineRefusedError(self.refusal)
        self.deployed.append((generation, executors))
        self.has |= {address for addresses in executors.values() for address in addresses}

    async def executors(self) -> ExecutorsReport:
        return ExecutorsReport(1, [_report(address) for address in self.has], [])


def _report(address: str) -> ExecutorReport:
    return ExecutorReport("default", address, 1, "serving", True, True, 1, 32, 0, 0, False, False, False, 0, 0, [])


@dataclass
class Fleet:
    """Executors of a hand-made build, with an engine that is only a name."""

    bench: Bench
    admin: Admin = field(default_factory=Admin)
    others: tuple[dict[str, str], ...] = ()
    unused: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        build = write_output(self.bench.folder / "build", policy("one"), *self.others)
        folder = self.bench.folder
        self.settings = NodeSettings(
            build, build.definitions, folder, Path("envoy"), bootstrap.find(), "n", folder, executors=2
        )
        self.run_dir = RunDir.open(self.bench.folder / "run")
        first = Generation(1, build)
        roster = processes.first_executors(self.settings, self.run_dir)
        specs = [
            processes.executor(self.settings, self.run_dir, first, executor_id, socket)
            for executor_id, socket in roster.items()
        ]
        self.supervisor = Supervisor([*specs, self.bench.listener("engine")], self.bench.output, SOON)
        self.executors = Executors(
            self.settings, self.run_dir, self.supervisor, self.bench.output, self.admin, first,
            lambda generation: self.unused.append(generation.number),
        )  # fmt: skip
        self.admin.has = {executor.address for executor in self.executors.serving}

    async def __aenter__(self) -> Self:
        await self.supervisor.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.executors.close()
        await self.supervisor.stop()
        self.run_dir.remove()

    def next(self, main: str = LISTENS, number: int = 2, source: str = "2") -> Generation:
        changed = policy("one", sourceDigest=source)
        return Generation(number, write_output(self.bench.folder / f"next{number}", changed, *self.others, main=main))

    def names(self) -> list[str]:
        return [process.spec.name for process in self.supervisor.processes]

    def engine_command(self) -> str:
        return " ".join(self.supervisor.process("engine").spec.command)


def test_a_generation_takes_over_and_the_old_one_goes_when_the_engine_lets_go(bench: Bench) -> None:
    async def live() -> None:
        async with Fleet(bench) as fleet:
            old = {executor.address for executor in fleet.executors.serving}
            pids = [executor.process.pid for executor in fleet.executors.serving]
            left = await fleet.executors.switch_to(fleet.next())
            assert [executor.id.name for executor in fleet.executors.serving] == [
                "executor-default-0.2",
                "executor-default-1.2",
            ]
            assert fleet.admin.deployed[0][0] == 2
            assert "--generation 2" in fleet.engine_command()
            assert f"{bench.folder}/next2/manifest.json" in fleet.engine_command()
            assert all(bench.alive(pid) for pid in pids)
            assert [process.status()["leaving"] for process in fleet.supervisor.processes] == [
                True,
                True,
                False,
                False,
                False,
            ]
            fleet.admin.has -= old
            await left
            assert fleet.names() == ["executor-default-0.2", "executor-default-1.2", "engine"]
            assert not any(bench.alive(pid) for pid in pids)
            assert sorted(path.name for path in fleet.run_dir.path.glob("executor*")) == [
                "executor-default-0.2.sock",
                "executor-default-1.2.sock",
            ]

    bench.run(live())


def test_processes_that_the_engine_refuses_are_stopped_again(bench: Bench) -> None:
    async def live() -> None:
        async with Fleet(bench) as fleet:
            fleet.admin.refusal = "prepare: KeyError"
            before = fleet.executors.serving
            with pytest.raises(EngineRefusedError, match="prepare: KeyError"):
                await fleet.executors.switch_to(fleet.next())
            assert fleet.executors.serving == before
            assert fleet.executors.generation.number == 1
            assert fleet.names() == ["executor-default-0", "executor-default-1", "engine"]
            assert fleet.engine_command() == " ".join(bench.listener("engine").command)

    bench.run(live())


def test_one_that_does_not_start_is_a_refusal_too(bench: Bench) -> None:
    async def live() -> None:
        async with Fleet(bench) as fleet:
            with pytest.raises(StartError, match="no such thing"):
                await fleet.executors.switch_to(fleet.next(main="raise SystemExit('no such thing')"))
            assert fleet.names() == ["executor-default-0", "executor-default-1", "engine"]
            assert fleet.admin.deployed == []

    bench.run(live())


def test_one_process_is_replaced_and_the_others_are_left_alone(bench: Bench) -> None:
    async def live() -> None:
        async with Fleet(bench) as fleet:
            first, second = fleet.executors.serving
            left = await fleet.executors.replace(first)
            assert left is not None
            (generation, roster) = fleet.admin.deployed[0]
            assert generation == 1
            assert roster == {"default": [first.address.replace("-0.sock", "-0.2.sock"), second.address]}
            assert await fleet.executors.replace(first) is None  # it has been already
            fleet.admin.has.discard(first.address)
            await left
            assert fleet.names() == ["executor-default-1", "executor-default-0.2", "engine"]

    bench.run(live())


def test_a_stop_in_the_middle_leaves_nothing(bench: Bench) -> None:
    async def live() -> None:
        async with Fleet(bench) as fleet:
            moving = asyncio.create_task(fleet.executors.switch_to(fleet.next(main="import time; time.sleep(600)")))
            await bench.until(
                lambda: all(process.pid for process in fleet.supervisor.processes) and len(fleet.names()) == 5
            )
            pids = [process.pid for process in fleet.supervisor.processes]
            moving.cancel()
            await asyncio.wait({moving})
        assert not any(bench.alive(pid) for pid in pids)

    bench.run(live())


def test_a_group_that_is_the_same_goes_on_and_its_files_stay_as_long(bench: Bench) -> None:
    async def live() -> None:
        async with Fleet(bench, others=(policy("two", group="steady"),)) as fleet:
            steady = {
                executor.id.name: executor.process.pid
                for executor in fleet.executors.serving
                if executor.id.group == "steady"
            }
            for number in (2, 3):
                left = await fleet.executors.switch_to(fleet.next(number=number, source=str(number)))
                (_, roster) = fleet.admin.deployed[-1]
                assert [len(roster[group]) for group in ("default", "steady")] == [2, 2]
                fleet.admin.has = {address for addresses in roster.values() for address in addresses}
                await left
            assert fleet.unused == [2]
            assert [name for name in fleet.names() if "default" in name] == [
                "executor-default-0.3",
                "executor-default-1.3",
            ]
            now = {
                executor.id.name: executor.process.pid
                for executor in fleet.executors.serving
                if executor.id.group == "steady"
            }
            assert now == steady
            for executor in [executor for executor in fleet.executors.serving if executor.id.group == "steady"]:
                replaced = await fleet.executors.replace(executor)
                assert replaced is not None
                fleet.admin.has.discard(executor.address)
                await replaced
            assert fleet.unused == [2, 1]

    bench.run(live())


def test_a_generation_that_no_process_runs_from_is_unused_at_once(bench: Bench) -> None:
    async def live() -> None:
        async with Fleet(bench) as fleet:
            for number in (2, 3):
                await fleet.executors.switch_to(fleet.next(number=number, source="1"))
            assert fleet.unused == [2]
            assert fleet.names() == ["executor-default-0", "executor-default-1", "engine"]

    bench.run(live())


class Inside(Fleet):
    """The same, with the engine inside of a process that stands for Envoy."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.settings = replace(self.settings, in_envoy=True)
        first = Generation(1, self.engine(self.settings.build, "first"))
        roster = processes.first_executors(self.settings, self.run_dir)
        at = self.run_dir.socket("envoy-admin")
        command = (sys.executable, "-c", HTTP, str(at), str(self.run_dir.socket("engine-admin")), str(self.loaded))
        envoy = ProcessSpec("envoy", command, Accepts(path=at), sockets=(at,))
        specs = [process.spec for process in self.supervisor.processes[:-1]]
        inside = processes.inside(envoy, self.settings, self.run_dir, first, roster)
        self.supervisor = Supervisor([*specs, inside], self.bench.output, SOON)
        self.executors = Executors(self.settings, self.run_dir, self.supervisor, self.bench.output, self.admin, first)

    @property
    def loaded(self) -> Path:
        """The engines that were loaded, a line each."""
        return self.bench.folder / "loaded"

    @staticmethod
    def engine(build: BuildOutput, content: str) -> BuildOutput:
        put(build.module, content)
        put(build.module.with_suffix(".json"), content)
        return build


def test_another_engine_inside_envoy_starts_both_again_with_the_new_executors(bench: Bench) -> None:
    async def live() -> None:
        async with Inside(bench) as fleet:
            fresh = fleet.next()
            fleet.engine(fresh.build, "second")
            left = await fleet.executors.switch_to(fresh)
            assert fleet.loaded.read_text().split() == ["first", "second"]
            guest = fleet.supervisor.process("envoy").spec.guest
            assert guest is not None
            assert guest.arguments[guest.arguments.index("--generation") + 1] == "2"
            assert "executor-default-0.2.sock" in " ".join(guest.arguments)
            assert fleet.admin.deployed == [], "it starts with them"
            fleet.admin.has = set()
            await left
            assert fleet.names() == ["executor-default-0.2", "executor-default-1.2", "envoy"]

    bench.run(live())
    assert "another engine: Envoy is started again with it" in bench.output.text()


def test_the_same_engine_inside_envoy_takes_new_executors_without_a_restart(bench: Bench) -> None:
    async def live() -> None:
        async with Inside(bench) as fleet:
            fresh = fleet.next()
            fleet.engine(fresh.build, "first")
            await fleet.executors.switch_to(fresh)
            assert fleet.loaded.read_text().split() == ["first"]
            assert [number for number, _ in fleet.admin.deployed] == [2]

    bench.run(live())


def test_an_engine_that_envoy_cannot_load_leaves_the_present_one(bench: Bench) -> None:
    async def live() -> None:
        async with Inside(bench) as fleet:
            fresh = fleet.next()
            fleet.engine(fresh.build, "broken")
            with pytest.raises(
                EngineRefusedError, match=r"envoy does not start with the new engine: .*\n.*cannot load"
            ):
                await fleet.executors.switch_to(fresh)
            assert fleet.loaded.read_text().split() == ["first", "first"]
            assert fleet.names() == ["executor-default-0", "executor-default-1", "envoy"]
            assert fleet.supervisor.process("envoy").state == "ready"

    bench.run(live())
