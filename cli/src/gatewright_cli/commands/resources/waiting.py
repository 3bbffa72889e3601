"""`gatewright wait`: what ends it for each kind, and the pauses between two looks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from gatewright_cli.clients.controller_refusals import RefusedError
from gatewright_cli.clients.resources import Resources
from gatewright_cli.commands.resources.kinds import API, Kind
from gatewright_cli.mistakes import ExitStatus

SHORTEST_PAUSE, LONGEST_PAUSE, LONGER = 0.05, 1.0, 1.5


@dataclass(frozen=True)
class Look:
    """What a look found. reached: whether the wait is over; hopeless: whether it cannot be reached by itself; reason:
    why it is not reached.
    """

    reached: bool
    reason: str = ""
    hopeless: bool = False


@dataclass(frozen=True)
class Outcome:
    """Of a resource that was waited for. reason: why it was not reached."""

    name: str
    status: ExitStatus
    reason: str = ""


Looker = Callable[[Resources, Kind, str], Awaitable[Look]]


async def wait_for(
    source: Resources, kind: Kind, names: Sequence[str], condition: str, seconds: float
) -> list[Outcome]:
    """Waits until each of these is `deployed` or `deleted`, for so many seconds together. Raises NoAnswerError."""
    end = time.monotonic() + seconds
    look = look_deleted if condition == "deleted" else look_deployed
    return [await _wait(source, kind, name, look, end) for name in names]


async def _wait(source: Resources, kind: Kind, name: str, look: Looker, end: float) -> Outcome:
    pause = SHORTEST_PAUSE
    while True:
        try:
            found = await look(source, kind, name)
        except RefusedError as error:
            return Outcome(name, error.status, str(error))
        if found.reached:
            return Outcome(name, ExitStatus.DONE)
        left = end - time.monotonic()
        if found.hopeless or left <= 0:
            return Outcome(name, ExitStatus.NOT_DEPLOYED, found.reason)
        await asyncio.sleep(min(pause, left))
        pause = min(pause * LONGER, LONGEST_PAUSE)


async def look_deployed(source: Resources, kind: Kind, name: str) -> Look:
    """Whether each connected node that is to serve it does. Rejected is hopeless: it stays so until another is written.
    So is an API that is for none of the connected nodes."""
    status = (await source.fetch(kind.path_of(name)))["status"]
    reason = ": ".join(filter(None, (status["state"], " ".join(status["reason"].split()))))
    hopeless = status["state"] == "rejected" or bool(status.get("unplaced"))
    return Look(status["state"] == "deployed", reason, hopeless=hopeless)


async def look_deleted(source: Resources, kind: Kind, name: str) -> Look:
    """Whether the controller has it no more, and no connected node serves it."""
    try:
        resource = await source.fetch(kind.path_of(name))
    except RefusedError as error:
        if error.status != ExitStatus.NOT_FOUND:
            raise
    else:
        if not kind.is_single or resource["status"]["origin"] == "api":
            return Look(reached=False, reason="the controller still has it")
    serving = await _serving_nodes(source, name) if kind is API else []
    return Look(not serving, f"not every node has removed it yet: {', '.join(serving)}" if serving else "")


async def _serving_nodes(source: Resources, api: str) -> list[str]:
    nodes = await source.fetch_all("/v1/nodes", "nodes")
    return [str(node["id"]) for node in nodes if any(served["name"] == api for served in node["apis"])]
