"""A node that sends exchanges to a controller at a given rate: it stands for an engine under load.

    python -m e2e.inspector.reporting_node ADDRESS FILE --rate 5000 --total 60000

FILE has recorded exchanges, a line each, which it sends again and again with other ids and times. It begins once a
client watches, and in the end prints how many it sent in how many seconds, as JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gatewright_controller._gen import node_pb2, node_pb2_grpc
from grpc import aio

IN_A_MESSAGE = 50
"""About 100 KiB of the 256 that an engine puts into one."""
TICK_SECONDS = 0.02


@dataclass
class TellingNode:
    """templates: recorded exchanges. rate: a second. total: then it ends."""

    address: str
    templates: list[dict[str, Any]]
    rate: int
    total: int
    sent: int = 0
    _watched: set[int] = field(default_factory=set)
    _is_watched: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> float:
        """How many seconds it took."""
        async with aio.insecure_channel(self.address) as channel:
            call = node_pb2_grpc.NodeServiceStub(channel).Observe()
            await call.write(node_pb2.Observed(node_id="reporting"))
            listener = asyncio.create_task(self._listen(call))
            await self._is_watched.wait()
            start = time.monotonic()
            while self.sent < self.total:
                await self._send(call, min(self.total, int((time.monotonic() - start) * self.rate)))
                await asyncio.sleep(TICK_SECONDS)
            took = time.monotonic() - start
            print(json.dumps({"sent": self.sent, "seconds": took}), flush=True)
            await listener  # the page may still have much to read
            return took

    async def _listen(self, call: Any) -> None:
        while isinstance(observation := await call.read(), node_pb2.Observation):
            if observation.stop:
                self._watched.discard(observation.id)
            elif observation.kept:
                await call.write(node_pb2.Observed(observation=observation.id, ended=True))
            elif not observation.record_only:
                await call.write(node_pb2.Observed(observation=observation.id))  # it has begun
                self._watched.add(observation.id)
                self._is_watched.set()

    async def _send(self, call: Any, until: int) -> None:
        while self.sent < until and self._watched:
            count = min(IN_A_MESSAGE, until - self.sent)
            exchanges = [self._exchange(number) for number in range(self.sent, self.sent + count)]
            for observation in list(self._watched):
                await call.write(node_pb2.Observed(observation=observation, exchanges=exchanges))
            self.sent += count

    def _exchange(self, number: int) -> bytes:
        template = self.templates[number % len(self.templates)]
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        return json.dumps({**template, "id": f"reported-{number}", "startedAt": now}).encode()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("file", type=Path)
    parser.add_argument("--rate", type=int, required=True)
    parser.add_argument("--total", type=int, required=True)
    options = parser.parse_args()
    templates = [json.loads(line) for line in options.file.read_text().splitlines()]
    asyncio.run(TellingNode(options.address, templates, options.rate, options.total).run())


if __name__ == "__main__":
    main()
