"""A provider of language models that fails at the moment that a test plans, and keeps an invoice."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Literal

from e2e.kit.connections import Connections

Moment = Literal["never", "refused", "before the head", "first event", "within the first event", "later"]
EARLY: tuple[Moment, ...] = ("refused", "before the head", "first event", "within the first event")
"""Before a part of the answer can have gone to the client."""
REFUSALS = (429, 500, 503, 529)
FIRST_ERRORS = (
    b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error"}}\n\n',
    b'data: {"error":{"code":529,"message":"overloaded"}}\n\n',
)
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


@dataclass(frozen=True)
class Failure:
    """When one provider fails in one exchange."""

    moment: Moment
    seed: int


def events(provider: str, number: int) -> list[bytes]:
    """The answer of a provider to an exchange: each is an event, and the last but one has the usage."""
    random = Random(f"{provider} {number}")  # noqa: S311 - no secret
    texts = [f"{provider}-{number}-{at} " for at in range(random.randint(1, 6))]
    chunks = [{"model": "m", "choices": [{"delta": {"content": text}}]} for text in texts]
    usage = {"prompt_tokens": random.randint(1, 99), "completion_tokens": len(texts)}
    documents = [*chunks, {"model": "m", "choices": [], "usage": usage}]
    return [*(b"data: %s\n\n" % json.dumps(document).encode() for document in documents), b"data: [DONE]\n\n"]


def tokens(provider: str, number: int) -> int:
    """What the whole answer costs."""
    usage: dict[str, int] = json.loads(events(provider, number)[-2].removeprefix(b"data: "))["usage"]
    return sum(usage.values())


class FailingProvider:
    """A server in the running event loop. The client names its exchange by the header x-exchange."""

    def __init__(self, name: str, failures: dict[int, Failure]) -> None:
        self.name = name
        self.failures = failures
        self.asked: Counter[int] = Counter()
        self.keys: set[str] = set()
        self.models: set[str] = set()
        self.invoice: Counter[int] = Counter()
        """The tokens of exchanges whose whole answer was written."""
        self.url = ""
        self.connections = Connections(self._serve)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[1:-2]
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
                body = await reader.readexactly(int(headers["content-length"]))
                number = int(headers["x-exchange"])
                self.asked[number] += 1
                self.keys.add(headers.get("authorization", ""))
                self.models.add(json.loads(body)["model"])
                if not await self._answer(writer, number):
                    writer.transport.abort()
                    return

    async def _answer(self, writer: asyncio.StreamWriter, number: int) -> bool:
        """Whether the connection goes on."""
        failure, parts = self.failures[number], events(self.name, number)
        random = Random(failure.seed)  # noqa: S311 - no secret
        match failure.moment:
            case "refused":
                status = random.choice(REFUSALS)
                writer.write(b"HTTP/1.1 %d No\r\ncontent-length: 4\r\n\r\nbusy" % status)
                await writer.drain()
                return True
            case "before the head":
                return False
            case "first event":
                await self._write(writer, random.choice(FIRST_ERRORS), random)
            case "within the first event":
                await self._write(writer, parts[0][: random.randint(0, len(parts[0]) - 2)], random)
                return False
            case "later":
                await self._write(writer, b"".join(parts[: random.randint(1, len(parts) - 2)]), random)
                return False
            case "never":
                await self._write(writer, b"".join(parts), random)
                self.invoice[number] += tokens(self.name, number)
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True

    async def _write(self, writer: asyncio.StreamWriter, body: bytes, random: Random) -> None:
        """Writes the head and the body, cut anywhere."""
        writer.write(HEAD)
        while body:
            size = random.randint(1, len(body))
            piece, body = body[:size], body[size:]
            writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            await writer.drain()
            if random.random() < 0.5:
                await asyncio.sleep(random.random() / 100)


@asynccontextmanager
async def failing_provider(name: str, failures: dict[int, Failure]) -> AsyncIterator[FailingProvider]:
    made = FailingProvider(name, failures)
    server = await asyncio.start_server(made.connections.accept, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield made
    finally:
        await made.connections.close(server)
