"""The stage of a row: a gateway with an API for each column and kind of upstream, and these upstreams."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from e2e.edge.passing.columns import BUFFERING, COLUMNS
from e2e.kit.conversation import SECONDS, Client, Exchange, Headers, PeerEvent, Upstream, Version, client
from e2e.kit.gateway import Gateway, api
from e2e.kit.grpc_upstream import GrpcUpstream
from e2e.kit.websocket_upstream import WebsocketUpstream

T = TypeVar("T")
REQUEST_SECONDS, IDLE_SECONDS = 1.0, 4.0
"""The timeouts of the APIs whose names begin with QUICK: of rows that wait for one of them. The others have none that a
slow machine would meet."""
QUICK = "quick-"
HELD_SECONDS = 1.5
"""After which what has not come is held back, in the one column that may hold it. Less than IDLE_SECONDS."""
METHODS = ("GET", "HEAD", "POST", "PUT")


class Stage:
    """Use as a context manager: upstreams in an event loop of their own, on which rows run too."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.http: dict[Version, Upstream] = {"HTTP/1.1": Upstream("HTTP/1.1"), "HTTP/2": Upstream("HTTP/2")}
        self.grpc = GrpcUpstream()
        self.websocket = WebsocketUpstream()
        self._upstreams: list[Upstream | GrpcUpstream | WebsocketUpstream] = [
            *self.http.values(), self.grpc, self.websocket,
        ]  # fmt: skip
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Stage:
        self._thread.start()
        self.run(self._start())
        for column, speed in itertools.product(COLUMNS, ("", QUICK)):
            for version, upstream in self.http.items():
                self._deploy(f"{speed}{column}-{name_of(version)}", column, upstream.port, protocol_of(version))
            self._deploy(f"{speed}{column}-grpc", column, self.grpc.port, None, scheme="grpc")
            self._deploy(f"{speed}{column}-ws", column, self.websocket.port, "http1")
        return self

    def __exit__(self, *_: object) -> None:
        self.run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """The coroutine's result, from the stage's loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout=60)

    async def _start(self) -> None:
        await asyncio.gather(*(upstream.start() for upstream in self._upstreams))

    async def _stop(self) -> None:
        await asyncio.gather(*(upstream.stop() for upstream in self._upstreams))

    def _deploy(self, name: str, column: str, port: int, protocol: str | None, scheme: str = "http") -> None:
        operations = [{"method": method, "path": "/*"} for method in METHODS]
        document = api(name, f"{scheme}://127.0.0.1:{port}", list(COLUMNS[column]), operations)
        if protocol:
            document["spec"]["upstream"]["main"]["protocol"] = protocol
        if name.startswith(QUICK):
            timeouts = {"requestTimeout": REQUEST_SECONDS, "idleTimeout": IDLE_SECONDS}
            document["spec"] |= {key: f"{int(seconds * 1000)}ms" for key, seconds in timeouts.items()}
            document["spec"]["policies"] = [{**policy, "timeout": "1s"} for policy in COLUMNS[column]]
        self.gateway.deploy(document)


def name_of(version: Version) -> str:
    """As it stands in names of APIs."""
    return {"HTTP/1.1": "h1", "HTTP/2": "h2"}[version]


def protocol_of(version: Version) -> str:
    """As an API says it of its upstream."""
    return {"HTTP/1.1": "http1", "HTTP/2": "http2"}[version]


def patience(column: str) -> float:
    """Seconds after which what has not come through a column's policies is held back."""
    return HELD_SECONDS if column == BUFFERING else SECONDS


_numbers = itertools.count()


@dataclass(frozen=True)
class Way:
    """The way from a client of one version to an upstream of another, through a column's policies."""

    stage: Stage
    column: str
    downstream: Version
    upstream: Version
    times_out: bool = False

    @property
    def port(self) -> int:
        """The gateway's."""
        return self.stage.gateway.port

    @property
    def context(self) -> str:
        """The context of the column's API for the upstream."""
        return f"/{QUICK if self.times_out else ''}{self.column}-{name_of(self.upstream)}"

    @property
    def patience(self) -> float:
        return patience(self.column)

    def connect(self) -> Any:
        """A client's connection; an asynchronous context manager of a `Client`."""
        return client(self.downstream, self.port)

    async def ask(
        self, connection: Client, method: str, headers: Headers = (), *, last: bool = False
    ) -> tuple[Exchange, Coming]:
        """Begins an exchange, and says how to meet it at the upstream."""
        target = f"/x{next(_numbers)}"
        exchange = await connection.ask(method, self.context + target, headers, last=last)
        return exchange, Coming(self.stage.http[self.upstream], target)


@dataclass(frozen=True)
class Coming:
    """An exchange on its way to an upstream."""

    upstream: Upstream
    target: str

    async def arrived(self) -> tuple[Exchange, PeerEvent]:
        """As the upstream has it, with the head of the request."""
        return await self.upstream.next_request(self.target)
