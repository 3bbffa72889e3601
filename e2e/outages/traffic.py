"""An open loop of requests to nodes, each accounted for: what came back, and by which chain."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from e2e.kit.gateway import eventually

STAMP = "x-stamp"
"""The header of responses by which a chain says which write it is of."""
ANSWER_SECONDS = 15.0
Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Target:
    """Where requests go. node: its name, for people."""

    node: str
    port: int
    path: str
    host: str = "127.0.0.1"

    @property
    def api(self) -> str:
        return self.path.split("/")[1]


@dataclass(frozen=True)
class Request:
    """A request and its answer. sent, ended: seconds since the epoch. status: 0 without an answer, and `problem` says
    why. floor, ceiling: what the caller knew of the API's stamps when it was sent, and when its answer was there."""

    target: Target
    sent: float
    ended: float
    status: int
    headers: Headers = ()
    body: str = ""
    problem: str = ""
    floor: int = 0
    ceiling: int = 0

    @property
    def stamp(self) -> str:
        return dict(self.headers).get(STAMP, "")


Known = Callable[[Target], int]


def _no_stamp(_: Target) -> int:
    return 0


def nothing() -> None:
    """Stays in this machine's network."""


@dataclass
class Traffic:
    """Requests in turn to all targets, `rate` a second in all, from a thread of its own.

    floor, ceiling: asked when a request is sent, and when its answer is there. network: called first in the thread, to
    enter another network namespace.
    """

    targets: Sequence[Target]
    rate: float
    floor: Known = _no_stamp
    ceiling: Known = _no_stamp
    network: Callable[[], None] = nothing
    requests: list[Request] = field(default_factory=list)
    late: int = 0
    """Requests that this process sent more than 0.1 s after they were due."""

    def __post_init__(self) -> None:
        self._ended = threading.Event()
        self._idle: dict[tuple[str, int], list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]] = {}
        self._thread = threading.Thread(target=self._run, name="traffic")

    def start(self) -> None:
        """Returns once every target has answered."""
        self._thread.start()
        eventually("every target answers", lambda: len({r.target for r in list(self.requests)}) == len(self.targets))

    def stop(self) -> None:
        """Waits for the requests under way."""
        self._ended.set()
        self._thread.join(2 * ANSWER_SECONDS)

    def failures(self) -> list[Request]:
        """Those that were not answered 200."""
        return [request for request in list(self.requests) if request.status != 200]

    def _run(self) -> None:
        self.network()
        asyncio.run(self._send_all())

    async def _send_all(self) -> None:
        due, number, tasks = time.time(), 0, set[asyncio.Task[None]]()
        while not self._ended.is_set():
            if (pause := due - time.time()) > 0:
                await asyncio.sleep(pause)
            self.late += time.time() - due > 0.1
            task = asyncio.create_task(self._send(self.targets[number % len(self.targets)]))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            number, due = number + 1, due + 1 / self.rate
        if tasks:
            await asyncio.wait(tasks)
        for connections in self._idle.values():
            for _, writer in connections:
                writer.close()

    async def _send(self, target: Target) -> None:
        floor, sent = self.floor(target), time.time()
        status, headers, body, problem = 0, Headers(), "", ""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                status, headers, body = await self._exchange(target)
        except TimeoutError:
            problem = "timeout"
        except (OSError, asyncio.IncompleteReadError, ValueError) as error:
            problem = repr(error)
        shown = body if status != 200 else ""
        self.requests.append(
            Request(target, sent, time.time(), status, headers, shown, problem, floor, self.ceiling(target))
        )

    async def _exchange(self, target: Target) -> tuple[int, Headers, str]:
        idle = self._idle.setdefault((target.host, target.port), [])
        reader, writer = idle.pop() if idle else await asyncio.open_connection(target.host, target.port)
        try:
            writer.write(f"GET {target.path} HTTP/1.1\r\nhost: {target.host}\r\n\r\n".encode())
            status, headers, body = await _answer(reader)
        except BaseException:
            writer.close()
            raise
        if dict(headers).get("connection") == "close":
            writer.close()
        else:
            idle.append((reader, writer))
        return status, headers, body


async def _answer(reader: asyncio.StreamReader) -> tuple[int, Headers, str]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = tuple((name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in head[1:-2]))
    by_name = dict(headers)
    if "chunked" in by_name.get("transfer-encoding", ""):
        body = b""
        while size := int(await reader.readline(), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readline()
    else:
        body = await reader.readexactly(int(by_name.get("content-length", "0")))
    return int(head[0].split()[1]), headers, body.decode(errors="replace")


@contextlib.contextmanager
def running_traffic(traffic: Traffic) -> Iterator[Traffic]:
    """The traffic flows meanwhile."""
    try:
        traffic.start()
        yield traffic
    finally:
        traffic.stop()
