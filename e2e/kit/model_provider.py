"""A provider of language models that answers as a test plans it, and keeps an invoice of what it has reported."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random

from aiohttp import web

from e2e.kit.model_answers import Part, Plan, Usage, answer_of

PATIENCE = 30.0


@dataclass
class Planned:
    """An exchange that was planned, and how far it is."""

    plan: Plan
    visible: int = 0
    """The bytes that the client gets before one of the two leaves; -1: all of them. Set when `sent` is."""
    sent: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when `visible` is known: the provider sends no more than that before `seen`."""
    seen: asyncio.Event = field(default_factory=asyncio.Event)
    """Set by the client when it has got so much, or has left."""
    answered: bool = False


class Provider:
    """A server in the running event loop. The client names its plan by the header x-exchange."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.planned: dict[int, Planned] = {}
        self.invoice: dict[str, list[Usage]] = defaultdict(list)
        """What answers to each key have reported, one item for each answer."""

    def expect(self, plan: Plan) -> Planned:
        self.planned[plan.number] = planned = Planned(plan)
        return planned

    async def answer(self, request: web.Request) -> web.StreamResponse:
        planned = self.planned[int(request.headers["x-exchange"])]
        plan, planned.answered = planned.plan, True
        document = json.loads(await request.read())
        if plan.reports == "silent":
            planned.sent.set()
            await asyncio.wait_for(planned.seen.wait(), PATIENCE)
            return web.Response(status=500)
        if plan.reports == "error":
            planned.visible = -1
            planned.sent.set()
            return web.json_response({"error": {"message": "overloaded", "type": "overloaded_error"}}, status=529)
        is_asked = (document.get("stream_options") or {}).get("include_usage") is True
        return await self._send(request, planned, answer_of(plan, is_asked))

    async def _send(self, request: web.Request, planned: Planned, parts: list[Part]) -> web.StreamResponse:
        plan, random = planned.plan, Random(planned.plan.seed)  # noqa: S311 — no secret
        kind = "text/event-stream" if plan.streams else "application/json"
        response = web.StreamResponse(headers={"content-type": kind})
        coder = zlib.compressobj(wbits=31) if plan.gzip else None
        if coder is not None:
            response.headers["content-encoding"] = "gzip"
        sent = parts
        if plan.leaves:
            sent, rest = _until_one_leaves(plan, parts, random)
            hides = plan.streams and plan.shape in ("chat", "completions") and not plan.asks
            planned.visible = sum(len(part.data) for part in sent if not (hides and part.is_extra))
            # a part of an event is kept until it is whole where chunks are hidden, so the client need not see `rest`
            planned.visible += 0 if plan.streams else len(rest)
            sent = [*sent, Part(rest)] if rest else sent
        else:
            planned.visible = -1
        usage = next((part.usage for part in reversed(sent) if part.usage is not None), None)
        if usage is not None:
            self.invoice[plan.key].append(usage)
        planned.sent.set()
        await response.prepare(request)
        await _write(response, b"".join(part.data for part in sent), coder, random)
        if not plan.leaves:
            await response.write_eof()
            return response
        await asyncio.wait_for(planned.seen.wait(), PATIENCE)
        assert request.transport is not None or plan.leaves == "client"
        if request.transport is not None:
            request.transport.abort()
        return response


async def _write(response: web.StreamResponse, body: bytes, coder: zlib._Compress | None, random: Random) -> None:
    """Writes the body cut anywhere."""
    while body:
        size = random.randint(1, max(1, len(body) // random.randint(1, 4)))
        piece, body = body[:size], body[size:]
        if coder is not None:
            piece = coder.compress(piece) + coder.flush(zlib.Z_SYNC_FLUSH if body else zlib.Z_FINISH)
        await response.write(piece)
        if random.random() < 0.3:
            await asyncio.sleep(0)


def _until_one_leaves(plan: Plan, parts: list[Part], random: Random) -> tuple[list[Part], bytes]:
    """The parts that are sent as a whole, and a beginning of the next one that reports nothing."""
    if not plan.streams:
        (whole,) = parts
        return [], whole.data[: random.randint(1, whole.whole_from)]
    count = random.randint(1, len(parts))
    while count < len(parts) and parts[count - 1].is_extra:  # the client sees by the next part that this one came
        count += 1
    rest = parts[count].data[: random.randint(0, 8)] if count < len(parts) else b""
    return parts[:count], rest


@asynccontextmanager
async def provider() -> AsyncIterator[Provider]:
    application = web.Application()
    runner = web.AppRunner(application, access_log=None)
    made = Provider("")
    application.router.add_post("/{path:.*}", made.answer)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield made
    finally:
        await runner.cleanup()
