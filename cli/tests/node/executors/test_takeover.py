"""Another Envoy takes the place of the present one. Processes that serve both admin interfaces stand for both."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from gatewright_cli.builds.generation import Generation
from gatewright_cli.clients.engine_admin import EngineAdmin, EngineRefusedError
from gatewright_cli.node.executors import takeover
from gatewright_cli.node.executors.replacement import Executors
from gatewright_cli.node.executors.takeover import Takeovers
from gatewright_cli.node.files.admin_relays import AdminRelays
from gatewright_cli.node.files.peers import Peers
from gatewright_cli.node.listeners.listener_gate import accept_queues
from gatewright_cli.node.listeners.ports import free_port
from gatewright_cli.node.specs import processes
from gatewright_cli.supervision.managed_process import ManagedProcess
from gatewright_cli.supervision.restarts import RestartPolicy
from gatewright_cli.supervision.specs import ProcessSpec
from gatewright_cli.supervision.supervisor import Supervisor

from cli.tests.node.executors.test_replacement import Fleet
from cli.tests.node.executors.test_replacement import Inside as Restarting

if TYPE_CHECKING:
    from cli.tests.conftest import Bench

BOTH = """
import http.server, json, os, signal, socket, socketserver, sys, threading, time, yaml
class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer): daemon_threads = True
bootstrap, log, port = sys.argv[1:]
settings = yaml.safe_load(open(bootstrap))
own = settings["admin"]["address"]["pipe"]["path"]
(extension,) = settings["bootstrap_extensions"]
words = json.loads(extension["typed_config"]["extension_config"]["value"])
engine = words[words.index("--admin") + 1].removeprefix("unix:")
module = open(os.environ["ENVOY_DYNAMIC_MODULES_SEARCH_PATH"] + "/libgatewright.so").read()
def note(text):
    with open(log, "a") as file: file.write(module + " " + text + chr(10))
if "slow" in module:
    note("waits")
    while not os.path.exists(log + ".go"): time.sleep(0.01)
if "broken" in module: sys.exit("cannot load the engine")
apis = 1 if module == "poor" else 2
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
listener.bind(("127.0.0.1", int(port)))
listener.listen()
place = {"local_address": {"socket_address": {"address": "127.0.0.1", "port_value": int(port)}}}
class Handler(http.server.BaseHTTPRequestHandler):
    address_string = lambda self: ""
    log_message = lambda *_: None
    def answer(self, value):
        body = json.dumps(value).encode()
        self.send_response(200); self.send_header("content-length", str(len(body))); self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        parts = [kind + state for kind in ("cluster", "listener", "route") for state in ("Generation", "sConfirmed")]
        xds = {"envoyConnected": True} | dict.fromkeys(parts, 1)
        stats = {"node": {"apis": 0 if os.path.exists(log + ".empty") else apis}, "xds": xds, "name": module}
        self.answer({"/stats": stats, "/listeners?format=json": {"listener_statuses": [place]}}.get(self.path, {}))
    def do_POST(self):
        note(self.path + " " + self.rfile.read(int(self.headers.get("content-length") or 0)).decode())
        if self.path == "/drain_listeners": listener.close()
        self.answer({"drained": os.path.exists(log + ".drained")} if self.path == "/drain" else {})
note("starts")
signal.signal(signal.SIGTERM, lambda *_: (note("ends"), os._exit(0)))
for path in (engine, own):
    threading.Thread(target=Server(path, Handler).serve_forever, daemon=True).start()
signal.pause()
"""
TAKES = RestartPolicy(first_delay=0.01, jitter=0.0)


class Node(Restarting):
    """As Fleet, with relays, and an engine whose admin socket is asked."""

    def __post_init__(self) -> None:
        Fleet.__post_init__(self)
        self.settings = replace(self.settings, in_envoy=True, drain_seconds=60.0, silence_seconds=60.0)
        first = Generation(1, self.engine(self.settings.build, "first"))
        roster = processes.first_executors(self.settings, self.run_dir)
        real = processes.envoy(self.settings, self.run_dir)
        self.port = free_port("127.0.0.1")
        bootstrap = self.run_dir.path / "bootstrap.yaml"
        command = (sys.executable, "-c", BOTH, str(bootstrap), str(self.loaded), str(self.port))
        specs = [process.spec for process in self.supervisor.processes[:-1]]
        envoy = replace(real, command=command, writes_access_log=False)
        inside = processes.inside(envoy, self.settings, self.run_dir, first, roster)
        self.peers = Peers(self.run_dir)
        output = self.bench.output
        self.supervisor = Supervisor([*specs, inside], output, TAKES, on_pid=self.peers.on_pid)
        self.relays = AdminRelays(self.peers, output)
        self.takeovers = Takeovers(self.settings, self.run_dir, self.supervisor, output, self.relays)
        self.executors = Executors(
            self.settings, self.run_dir, self.supervisor, output, self.admin, first, takeovers=self.takeovers
        )

    def events(self) -> list[str]:
        return self.loaded.read_text().splitlines()

    def signal(self, word: str) -> Path:
        """A file that the processes look for. go: engines with "slow" in their name start. empty: there are no APIs.
        drained: the controller wants the node drained.
        """
        return self.loaded.with_suffix(f".{word}")

    def listening(self) -> int:
        """How many sockets listen on Envoy's port."""
        return len(accept_queues(f"127.0.0.1:{self.port}"))

    def envoy(self) -> ProcessSpec:
        return self.supervisor.process("envoy").spec


@asynccontextmanager
async def running(bench: Bench) -> AsyncIterator[Node]:
    node = Node(bench)
    try:
        for process in node.supervisor.processes:
            await node.relays.open(process.spec)
        async with node:
            yield node
    finally:
        await node.relays.close_all()


async def until(node: Node, *last: str) -> None:
    while node.events()[-len(last) :] != list(last):
        await asyncio.sleep(0.01)


def test_another_envoy_gets_the_name_and_the_sockets_of_the_present_one(bench: Bench) -> None:
    async def live() -> None:
        async with running(bench) as node:
            before = node.supervisor.process("envoy")
            fresh = node.next()
            node.engine(fresh.build, "second")
            left = await node.executors.switch_to(fresh)
            assert node.events()[:3] == ["first starts", 'first /handover {"away":true}', "second starts"]
            now = node.supervisor.process("envoy")
            assert now is not before
            assert (before.spec.name, before.leaving, now.leaving) == ("envoy.1", True, False)
            for socket in node.run_dir.socket("engine-admin"), node.run_dir.socket("envoy-admin"):
                admin = EngineAdmin(socket)
                assert (await admin.stats()).node.apis == 2
            names = set(node.run_dir.peers.read_text().replace('"', " ").split())
            assert {"envoy", "engine", "envoy.2", "engine.2"} <= names
            node.admin.has = set()
            await left
            await until(node, "first /drain_listeners?graceful&skip_exit ", "first /drain_listeners ", "first ends")
            assert node.names() == ["executor-default-0.2", "executor-default-1.2", "envoy"]
            assert now.state == "ready"
            now.kill()
            await until(node, "second starts")
            while now.state != "ready":  # until it is, its admin socket has a name of its own
                await asyncio.sleep(0.01)
            assert sorted(path.name for path in node.run_dir.path.glob("e*n*.sock") if "executor" not in path.name) == [
                "engine-admin.sock",
                "envoy-admin.sock",
            ]

    bench.run(live())


def test_takeovers_follow_each_other(bench: Bench) -> None:
    async def live() -> None:
        async with running(bench) as node:
            for number, name in (2, "second"), (3, "third"):
                fresh = node.next(number=number, source=str(number))
                node.engine(fresh.build, name)
                await node.executors.switch_to(fresh)
            assert node.events()[-1] == "third starts"
            assert "second starts" in node.events()[: node.events().index("first ends")]
            assert node.events().index("first ends") < node.events().index("third starts")
            assert "ext-proc.3.sock" in " ".join(node.envoy().guest.arguments)  # type: ignore[union-attr]

    bench.run(live())


def test_an_engine_that_does_not_start_leaves_the_present_one_serving(bench: Bench) -> None:
    async def live() -> None:
        async with running(bench) as node:
            before = node.supervisor.process("envoy")
            fresh = node.next()
            node.engine(fresh.build, "broken")
            with pytest.raises(
                EngineRefusedError, match=r"envoy does not start with the new engine: .*\n.*cannot load"
            ):
                await node.executors.switch_to(fresh)
            assert node.supervisor.process("envoy") is before
            assert node.names() == ["executor-default-0", "executor-default-1", "envoy"]
            ends = ['first /handover {"away":true}', 'first /handover {"away":false}']
            assert node.events() == ["first starts", *ends]
            fresh = node.next(number=3, source="3")
            node.engine(fresh.build, "third")
            await node.executors.switch_to(fresh)
            assert node.events()[-1] == "third starts"

    bench.run(live())


def test_an_engine_that_serves_fewer_apis_does_not_take_over(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(takeover, "SERVES_SECONDS", 0.1)

    async def live() -> None:
        async with running(bench) as node:
            fresh = node.next()
            node.engine(fresh.build, "poor")
            with pytest.raises(EngineRefusedError, match="the new engine serves 1 of 2 APIs after"):
                await node.executors.switch_to(fresh)
            assert node.events()[-1] == 'first /handover {"away":false}'
            assert node.listening() == 1

    bench.run(live())


def test_engines_that_listen_on_ports_of_their_own_are_started_again(bench: Bench) -> None:
    async def live() -> None:
        async with running(bench) as node:
            envoy = node.supervisor.process("envoy")
            assert envoy.spec.guest is not None
            words = (*envoy.spec.guest.arguments, "--attach-listen", "127.0.0.1:0")
            envoy.spec = replace(envoy.spec, guest=replace(envoy.spec.guest, arguments=words))
            fresh = node.next()
            node.engine(fresh.build, "second")
            await node.executors.switch_to(fresh)
            assert node.supervisor.process("envoy") is envoy
            assert node.events()[-2:] == ["first ends", "second starts"]

    bench.run(live())
    assert '"because":"two engines cannot both have --attach-listen"' in bench.output.text()


def test_with_superseded_policies_the_takeover_waits_for_the_controller(bench: Bench) -> None:
    async def live() -> None:
        async with running(bench) as node:
            before = node.supervisor.process("envoy")
            fresh = node.next()
            node.engine(fresh.build, "poor")
            left = await node.executors.switch_to(fresh, superseded=["one:v1.0.0"])
            assert node.supervisor.process("envoy") is before
            assert not before.leaving
            finishing = asyncio.create_task(node.executors.finish(0.5))
            await asyncio.wait({finishing}, timeout=0.2)
            assert not finishing.done(), "APIs are missing that the controller deploys again"
            await finishing
            assert before.leaving
            node.admin.has = set()
            await left

    bench.run(live())
    assert "serves fewer APIs than the one before" in bench.output.text()


# ---------------------------------------------------------------- processes that end meanwhile


async def kill_present_while_next_starts(node: Node, engine: str) -> tuple[ManagedProcess, asyncio.Task[object]]:
    """The killed Envoy, which has ended, and the takeover. The next engine waits for the signal."""
    present, fresh = node.supervisor.process("envoy"), node.next()
    node.engine(fresh.build, engine)
    switching = asyncio.create_task(node.executors.switch_to(fresh))
    await until(node, f"{engine} waits")
    present.kill()
    await node.bench.until(lambda: present.state == "restarting")
    return present, switching


def test_a_present_envoy_that_ends_is_not_started_again_beside_the_next_one(bench: Bench) -> None:
    async def live() -> None:
        async with running(bench) as node:
            present, switching = await kill_present_while_next_starts(node, "slow")
            await asyncio.sleep(10 * TAKES.first_delay)
            assert present.pid is None
            node.signal("go").touch()
            await switching
            assert node.supervisor.process("envoy") is not present
            assert (await EngineAdmin(node.run_dir.socket("engine-admin")).stats()).node.apis == 2
            fresh = node.next(number=3, source="3")
            node.engine(fresh.build, "third")
            await node.executors.switch_to(fresh)
            assert [event for event in node.events() if "starts" in event] == [
                "first starts",
                "slow starts",
                "third starts",
            ]

    bench.run(live())


def test_a_present_envoy_that_ends_is_started_again_if_the_next_one_does_not_start(bench: Bench) -> None:
    async def live() -> None:
        async with running(bench) as node:
            present, switching = await kill_present_while_next_starts(node, "slow and broken")
            node.signal("go").touch()
            with pytest.raises(EngineRefusedError, match="does not start with the new engine"):
                await switching
            assert node.supervisor.process("envoy") is present
            await bench.until(lambda: present.state == "ready")
            assert [event for event in node.events() if "starts" in event] == ["first starts"] * 2

    bench.run(live())
    assert "the new engine does not take over: the present one has ended, and is started again" in bench.output.text()


def test_a_present_envoy_that_ends_before_its_drain_leaves_no_socket_on_its_port(bench: Bench) -> None:
    async def live() -> None:
        async with running(bench) as node:
            fresh = node.next()
            node.engine(fresh.build, "second")
            roster = {executor.id: executor.process.spec.sockets[0] for executor in node.executors.serving}
            await node.takeovers.start(fresh, roster, serves_all=True)
            done = await node.takeovers.finish()
            done.present.kill()
            await bench.until(lambda: done.present.pid is None)
            await node.takeovers.remove(done)
            assert node.listening() == 1, "the next Envoy's"

    bench.run(live())


@pytest.mark.parametrize("seconds", [0.0, 60.0])
def test_a_next_envoy_that_ends_before_it_takes_over_serves_as_soon_as_it_is_back(bench: Bench, seconds: float) -> None:
    """seconds: how long the takeover waits for it. No API serves, so it does not wait for these."""

    async def live() -> None:
        async with running(bench) as node:
            node.signal("empty").touch()
            fresh = node.next()
            node.engine(fresh.build, "slow")
            node.signal("go").touch()
            await node.executors.switch_to(fresh, superseded=["one:v1.0.0"])
            present, following = node.supervisor.process("envoy"), node.supervisor.process("envoy.2")
            node.signal("go").unlink()
            following.kill()
            await bench.until(lambda: following.state == "starting")
            finishing = asyncio.create_task(node.executors.finish(seconds))
            await asyncio.wait({finishing}, timeout=0.2)
            assert present.leaving is finishing.done() is (seconds == 0.0)
            node.signal("go").touch()
            await finishing
            await bench.until(lambda: following.state == "ready")
            assert node.supervisor.process("envoy") is following
            assert await EngineAdmin(node.run_dir.socket("engine-admin")).envoy_acknowledged_all()
            fresh = node.next(number=3, source="3")
            node.engine(fresh.build, "third")
            await node.executors.switch_to(fresh)
            assert node.events()[-1] == "third starts"

    bench.run(live())
    assert ("takes over and is not ready: Envoy is started again" in bench.output.text()) is (seconds == 0.0)
