"""Bodies of any size through policies that stream: memory stays flat, and a slow end makes the other wait."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench import load_tool, transfers
from bench.transfers import Counts, byte_upstream
from e2e.kit.gateway import Gateway, api, attach, eventually, running
from e2e.kit.processes import resident_memory

pytestmark = pytest.mark.timeout(120)
MIB = 1 << 20
WHOLE = 64 * MIB
GROWTH = 64_000_000
ON_THE_WAY = 24 * MIB
"""The bytes that sockets, Envoy and a stream's credit may hold of an unread body; far less than WHOLE."""
EXECUTOR = "executor-default-0"
STREAMS = 200


@pytest.fixture(scope="module")
def own_gateway(build: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running(build, tmp_path_factory.mktemp("large"), "--drain-seconds", "1") as gateway:
        yield gateway


@pytest.fixture(scope="module")
def byte_counts(own_gateway: Gateway) -> Iterator[Counts]:
    """The bytes at the upstream of two APIs: of "large", and of "slow", whose policy waits a second each time."""
    with byte_upstream() as (address, counts):
        own_gateway.deploy(api("large", f"http://{address}", [attach("pass-stream", timeout="30s")]))
        slow = attach("pass-stream", {"pauseSeconds": 1.0}, timeout="30s")
        own_gateway.deploy(api("slow", f"http://{address}", [slow]))
        yield counts


@pytest.mark.parametrize("way", [transfers.upload, transfers.download], ids=["upload", "download"])
@pytest.mark.usefixtures("byte_counts")
def test_a_large_body_takes_no_memory(own_gateway: Gateway, way: Callable[..., float]) -> None:
    way(own_gateway.port, "/large/x", MIB)
    before = resident_memory(own_gateway)
    way(own_gateway.port, "/large/x", WHOLE)
    grown = {name: now - before[name] for name, now in resident_memory(own_gateway).items()}
    assert max(grown["engine"], grown[EXECUTOR]) <= GROWTH, grown


@contextlib.contextmanager
def open_request(gateway: Gateway, head: str) -> Iterator[socket.socket]:
    """A connection with a request's head sent, that takes next to nothing into its own buffer."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        client.connect(("127.0.0.1", gateway.port))
        client.sendall(f"{head} HTTP/1.1\r\nhost: x\r\n".encode())
        yield client


def settled_count(count: Callable[[], int]) -> int:
    """The count, once it has not changed for a second."""
    at, changed = count(), time.monotonic()
    while time.monotonic() < changed + 1.0:
        time.sleep(0.05)
        if count() != at:
            at, changed = count(), time.monotonic()
    return at


def test_a_client_that_reads_nothing_stops_upstream_and_then_has_all(own_gateway: Gateway, byte_counts: Counts) -> None:
    byte_counts.sent = 0
    with open_request(own_gateway, f"GET /large/x?bytes={WHOLE}") as client:
        client.sendall(b"\r\n")
        eventually("the answer has begun", lambda: byte_counts.sent > 0)
        sent = settled_count(lambda: byte_counts.sent)
        assert sent < ON_THE_WAY
        client.settimeout(20)
        took = 0
        while took < WHOLE:
            took += len(client.recv(1 << 20))
        assert byte_counts.sent == WHOLE


def test_a_client_that_reads_slowly_lets_upstream_send_no_more_than_that(
    own_gateway: Gateway, byte_counts: Counts
) -> None:
    byte_counts.sent = 0
    with open_request(own_gateway, f"GET /large/x?bytes={WHOLE}") as client:
        client.sendall(b"\r\n")
        eventually("the answer has begun", lambda: byte_counts.sent > 0)
        sent = settled_count(lambda: byte_counts.sent)
        for _ in range(20):  # 10 KB/s, for two seconds
            client.recv(1000)
            time.sleep(0.1)
        assert byte_counts.sent < sent + MIB


def test_a_policy_that_sleeps_stops_upstream(own_gateway: Gateway, byte_counts: Counts) -> None:
    byte_counts.sent = 0
    with open_request(own_gateway, f"GET /slow/x?bytes={WHOLE}") as client:
        client.sendall(b"\r\n")
        eventually("the policy has begun", lambda: client.recv(1 << 16))
        settled_count(lambda: byte_counts.sent // (2 * MIB))
        assert byte_counts.sent < ON_THE_WAY


def test_a_policy_that_sleeps_stops_the_client(own_gateway: Gateway, byte_counts: Counts) -> None:
    byte_counts.received = 0
    with open_request(own_gateway, "POST /slow/x") as client:
        client.sendall(f"content-length: {WHOLE}\r\n\r\n".encode())
        client.settimeout(2.0)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < WHOLE:
                sent += client.send(transfers.BLOCK)
        assert sent < ON_THE_WAY
        assert byte_counts.received < ON_THE_WAY


@pytest.mark.alone
def test_many_streams_side_by_side_come_in_time(gateway: Gateway, tool: Path, tmp_path: Path) -> None:
    """The short form of `make bench ARGS=streams`, which has 2,000 on a quiet machine."""
    (tmp_path / "expect.json").write_text('{"/events": {}}')
    with load_tool.upstream(tool, tmp_path / "expect.json", tmp_path) as (_, address):
        gateway.deploy(api("events", f"http://{address}/events", [attach("mark-stream")]))
        url = f"{gateway.url}/events/x?events=1000000&every=1s"
        command = [str(tool), "streams", "-url", url, "-end", "#", "-streams", str(STREAMS), "-open", "1s"]
        before = resident_memory(gateway)
        during = dict[str, int]()
        result = load_tool.drive(
            [*command, "-settle", "1s", "-duration", "4s"],
            6.0,
            tmp_path,
            lambda _: during.update(resident_memory(gateway)),
            lambda _: None,
        )
    assert result.failures == 0, result.first_failure
    assert result.count >= 3 * STREAMS
    assert result.p50 < 250_000
    assert during[EXECUTOR] - before[EXECUTOR] < STREAMS * 30_000 + 8 * MIB
    assert during["engine"] - before["engine"] < STREAMS * 40_000 + 16 * MIB
