from __future__ import annotations

import asyncio
import json
import socket
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from gatewright_cli.node.listeners.ports import free_port
from gatewright_cli.node.specs.envoy_drain import EnvoyDrain
from gatewright_cli.run.preflight import find_envoy
from gatewright_cli.supervision.managed_process import ManagedProcess, State
from gatewright_cli.supervision.probes import Accepts, Answers, Speaks
from gatewright_cli.supervision.specs import ProcessSpec

if TYPE_CHECKING:
    from cli.tests.conftest import Bench

HTTP = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = "envoy.extensions.filters.http.router.v3.Router"


def answering(bench: Bench, reply: bytes) -> AbstractAsyncContextManager[None]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply)
        await writer.drain()

    return bench.serving(bench.folder / "s", answer)


def test_a_socket_that_accepts(bench: Bench) -> None:
    async def live() -> None:
        path = bench.folder / "s"
        assert await Accepts(path=path).obstacle() == f"{path}: FileNotFoundError"
        async with answering(bench, b""):
            assert await Accepts(path=path).obstacle() is None
        port = free_port("127.0.0.1")
        assert await Accepts(address=f"127.0.0.1:{port}").obstacle() == f"127.0.0.1:{port}: ConnectionRefusedError"

    bench.run(live())


def test_a_socket_that_is_served(bench: Bench) -> None:
    """A connection is not enough: a process may listen before it serves."""

    async def live() -> None:
        path = bench.folder / "s"
        assert await Speaks(path).obstacle() == f"{path}: FileNotFoundError"
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(path))
            listening.listen()
            probe = asyncio.create_task(Speaks(path).obstacle())
            await asyncio.sleep(0)
            accepted, _ = await asyncio.to_thread(listening.accept)
            assert not probe.done()
            accepted.send(b"x")
            assert await probe is None
            probe = asyncio.create_task(Speaks(path).obstacle())
            accepted.close()
            (await asyncio.to_thread(listening.accept))[0].close()
            assert await probe == f"{path}: closed"

    bench.run(live())


@pytest.mark.parametrize(
    ("reply", "obstacle"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", None),
        (b"HTTP/1.1 503 No\r\ncontent-length: 8\r\n\r\nno state", "GET /ready: 503 no state"),
        (b"nonsense\r\n\r\n", "GET /ready: HttpParserError"),
    ],
)
def test_an_answer(bench: Bench, reply: bytes, obstacle: str | None) -> None:
    async def live() -> None:
        async with answering(bench, reply):
            assert await Answers("/ready", socket=bench.folder / "s").obstacle() == obstacle

    bench.run(live())


def test_no_answer(bench: Bench) -> None:
    async def live() -> None:
        assert await Answers("/ready", socket=bench.folder / "s").obstacle() == "GET /ready: FileNotFoundError"

    bench.run(live())


def small_envoy(bench: Bench, port: int, upstream: Path) -> ProcessSpec:
    """Envoy in front of one upstream, with the admin socket and the names that a node's Envoy has."""
    admin, bootstrap = bench.folder / "admin", bench.folder / "bootstrap.json"
    routes = [{"match": {"prefix": "/"}, "route": {"cluster": "upstream"}}]
    manager = {
        "@type": f"type.googleapis.com/{HTTP}",
        "stat_prefix": "gatewright",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        "http_filters": [{"name": "router", "typed_config": {"@type": f"type.googleapis.com/{ROUTER}"}}],
    }
    listener = {
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    endpoint = {"endpoint": {"address": {"pipe": {"path": str(upstream)}}}}
    cluster = {
        "name": "upstream",
        "load_assignment": {"cluster_name": "upstream", "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
    content = {
        "admin": {"address": {"pipe": {"path": str(admin)}}},
        "static_resources": {"listeners": [listener], "clusters": [cluster]},
    }
    bootstrap.write_text(json.dumps(content))
    command = (str(find_envoy()), "--config-path", str(bootstrap), "--disable-hot-restart", "--drain-time-s", "1")
    drain = EnvoyDrain(admin, seconds=20.0)
    return ProcessSpec("envoy", command, Answers("/ready", socket=admin), sockets=(admin,), drain=drain)


def test_envoy_is_drained_of_the_requests_under_way(bench: Bench) -> None:
    async def live() -> None:
        arrived, release = asyncio.Event(), asyncio.Event()

        async def held(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            arrived.set()
            await release.wait()
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate")
            await writer.drain()

        port, upstream = free_port("127.0.0.1"), bench.folder / "up"
        async with bench.serving(upstream, held):
            process = ManagedProcess(small_envoy(bench, port, upstream), bench.output)
            await process.start()
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
                asking = asyncio.create_task(client.get("/", timeout=30.0))
                await arrived.wait()
                stopping = asyncio.create_task(process.stop())
                await until_refused(port)
                assert (process.state, stopping.done()) == (State.STOPPING, False)
                release.set()
                answer = await asking
                assert (answer.text, answer.headers["connection"]) == ("late", "close")
            await stopping

    bench.run(live())
    assert "could not be drained" not in bench.output.text()


async def until_refused(port: int) -> None:
    while await Accepts(address=f"127.0.0.1:{port}").obstacle() is None:
        await asyncio.sleep(0.02)
