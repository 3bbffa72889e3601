"""Nodes that report the exchanges of a test, and the events that a watcher gets."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import grpc
import httpx
from gatewright_controller._gen import node_pb2, node_pb2_grpc
from gatewright_controller.nodes.observations import Observations
from grpc import aio

JSON_LINES = {"accept": "application/x-ndjson"}
OBSERVED = {"state": "observed", "reason": ""}


def exchange(number: int = 1, **members: object) -> bytes:
    """As an engine makes it; spaces and order are odd, so that a test finds whether they are kept."""
    return json.dumps({"version": 1, "id": f"id-{number}", **members}, indent=1).encode()


class ObservedNode:
    """A node that opens Observe, and reports what a test has it report."""

    def __init__(self, address: str, node_id: str = "n1") -> None:
        self.id = node_id
        self._channel = aio.insecure_channel(address)
        self._call = node_pb2_grpc.NodeServiceStub(self._channel).Observe()

    async def open(self) -> ObservedNode:
        await self._call.write(node_pb2.Observed(node_id=self.id))
        return self

    async def asked(self, *, begins: bool = True) -> node_pb2.Observation:
        """The next observation that the controller asks for. begins: confirms, as an engine does, that it reports
        exchanges as they end, if that is asked for.
        """
        async with asyncio.timeout(60):
            message = await self._call.read()
        assert isinstance(message, node_pb2.Observation), message
        if begins and not (message.kept or message.record_only or message.stop):
            await self._call.write(node_pb2.Observed(observation=message.id))
        return message

    async def report(self, observation: int, *exchanges: bytes, **more: Any) -> None:
        for encoded in exchanges:
            await self._call.write(node_pb2.Observed(observation=observation, exchanges=[encoded]))
        if more:
            await self._call.write(node_pb2.Observed(observation=observation, **more))

    async def code(self) -> grpc.StatusCode:
        return await self._call.code()

    async def close(self) -> None:
        await self._channel.close()


@dataclass
class Stream:
    """The events that a watcher gets."""

    lines: AsyncIterator[str]

    async def next(self, *, settled: bool = True) -> tuple[str, Any]:
        """The next event. settled: skips events about nodes that are still connecting."""
        async with asyncio.timeout(60):
            while not (line := await anext(self.lines)):
                pass
        ((event, data),) = json.loads(line).items()
        if settled and event == "nodes" and any(node["state"] == "connecting" for node in data):
            return await self.next()
        return event, data

    async def rest(self) -> list[tuple[str, Any]]:
        """All until its end."""
        found = []
        with contextlib.suppress(StopAsyncIteration):
            while True:
                found.append(await self.next())
        return found


class Served:
    """A controller's two sides."""

    def __init__(self, address: str, url: str, known: Observations) -> None:
        self.address, self.url, self.observations = address, url, known
        self._nodes: list[ObservedNode] = []

    async def node(self, node_id: str = "n1") -> ObservedNode:
        """A node whose stream the controller has accepted."""
        node = await self.stream(node_id)
        await until(
            lambda: any(known.id == node_id and known.state == "observed" for known in self.observations.nodes())
        )
        return node

    async def stream(self, node_id: str) -> ObservedNode:
        self._nodes.append(ObservedNode(self.address, node_id))
        return await self._nodes[-1].open()

    @contextlib.asynccontextmanager
    async def watch(self, client: httpx.AsyncClient, **parameters: object) -> AsyncIterator[Stream]:
        query = {name: str(value) for name, value in parameters.items()}
        async with client.stream("GET", "/v1/exchanges", params=query, headers=JSON_LINES, timeout=60) as answer:
            assert answer.status_code == 200, await answer.aread()
            yield Stream(answer.aiter_lines())

    async def close(self) -> None:
        for node in self._nodes:
            await node.close()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.005)
