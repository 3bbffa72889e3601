"""The client of the engine's admin socket, against a small HTTP server of the tests' own."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Coroutine
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pytest
from gatewright_cli.clients.engine_admin import DrainPhase, EngineAdmin, EngineRefusedError, quarantined
from gatewright_cli.local_http import LocalHttpError

if TYPE_CHECKING:
    from cli.tests.conftest import Bench

XDS = {
    "envoyConnected": True, "clusterGeneration": 3, "clustersConfirmed": 3, "routeGeneration": 2, "routesConfirmed": 2,
    "listenerGeneration": 2, "listenersConfirmed": 2,
}  # fmt: skip
PROCESS = {
    "group": "default", "address": "unix:/run/a", "generation": 2, "role": "serving", "connected": True,
    "serving": True, "pid": 7, "workers": 32, "underWay": 1, "silentMs": 12, "stalled": False, "memoryExhausted": False,
    "threadFailed": False, "executionsStarted": 9, "workersHung": 1, "soonerOrLater": "a field that is newer than this",
    "hung": [{"policy": "greet:v1.0.0", "api": "hello", "instance": "i", "count": 1, "oldestMs": 6000,
              "blocksInstance": False}],
}  # fmt: skip
QUARANTINED = {"group": "default", "policy": "p:v1", "api": "a", "instance": "i", "deaths": 3, "leftMs": 500}


def engine(bench: Bench, status: int, body: str, requests: list[str]) -> AbstractAsyncContextManager[None]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next((int(line[15:]) for line in head.lower().splitlines() if line.startswith("content-length:")), 0)
        requests.append(head.splitlines()[0] + " " + (await reader.readexactly(length)).decode())
        writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: {len(body.encode())}\r\n\r\n{body}".encode())
        await writer.drain()

    return bench.serving(bench.folder / "admin", answer)


def ask(bench: Bench, status: int, body: Any, work: Coroutine[Any, Any, Any]) -> tuple[Any, list[str]]:
    """What `work` returns, and the requests that the engine got meanwhile."""
    found: list[Any] = []
    requests: list[str] = []

    async def live() -> None:
        async with engine(bench, status, body if isinstance(body, str) else json.dumps(body), requests):
            found.append(await work)

    bench.run(live())
    return found[0], requests


def admin(bench: Bench) -> EngineAdmin:
    return EngineAdmin(bench.folder / "admin")


def test_how_the_engine_sees_the_processes(bench: Bench) -> None:
    content = {"generation": 2, "processes": [PROCESS], "quarantined": [QUARANTINED]}
    found, requests = ask(bench, 200, content, admin(bench).executors())
    assert requests == ["GET /executors HTTP/1.1 "]
    process = found.at("unix:/run/a")
    assert (process.pid, process.silent_ms, process.stalled, process.hung[0].oldest_ms) == (7, 12, False, 6000)
    assert found.at("unix:/run/b") is None
    assert found.quarantined[0].left_ms == 500


def test_no_engine_is_an_error_and_no_quarantine(bench: Bench) -> None:
    with pytest.raises(LocalHttpError):
        bench.run(admin(bench).executors())  # type: ignore[arg-type]
    assert quarantined(bench.folder / "admin") == []


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ({}, True),
        ({"envoyConnected": False}, False),
        ({"clustersConfirmed": 2}, False),
        ({"listenersConfirmed": 1}, False),
        ({"routesConfirmed": 0}, False),
    ],
)
def test_whether_envoy_has_acknowledged_all(bench: Bench, other: dict[str, Any], expected: bool) -> None:
    found, _ = ask(bench, 200, {"xds": XDS | other}, admin(bench).envoy_acknowledged_all())
    assert found is expected


def test_an_engine_that_fails_knows_of_no_envoy(bench: Bench) -> None:
    assert ask(bench, 500, "", admin(bench).envoy_acknowledged_all())[0] is False


def test_executors_are_named_with_their_generation(bench: Bench) -> None:
    deploying = admin(bench).deploy(2, Path("/g/2/manifest.json"), {"default": ["unix:/run/a"]}, ["greet:v1.0.0"])
    _, (requests,) = ask(bench, 200, {}, deploying)
    line, _, body = requests.partition("HTTP/1.1 ")
    assert line == "POST /executors "
    assert json.loads(body) == {
        "generation": 2,
        "manifest": "/g/2/manifest.json",
        "executors": {"default": ["unix:/run/a"]},
        "superseded": ["greet:v1.0.0"],
    }


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (409, {"reason": "greet:v1.0.0 does not start"}, "^greet:v1.0.0 does not start$"),
        (500, "oops", "the policy engine answered 500 oops"),
    ],
)
def test_a_refusal_says_why(bench: Bench, status: int, body: Any, reason: str) -> None:
    with pytest.raises(EngineRefusedError, match=reason):
        ask(bench, status, body, admin(bench).deploy(2, Path("m"), {}))


def test_an_engine_that_is_away_refuses(bench: Bench) -> None:
    with pytest.raises(EngineRefusedError, match="the policy engine gave no answer"):
        bench.run(admin(bench).deploy(2, Path("m"), {}))


def test_the_phases_of_a_drain_are_those_that_the_engine_knows() -> None:
    source = Path(__file__).parents[3] / "gateway-runtime/policy-engine/internal/node/draining/draining.go"
    assert get_args(DrainPhase) == tuple(re.findall(r'Phase += "(\w+)"', source.read_text("utf-8")))
