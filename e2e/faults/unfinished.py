"""Clients that stop in the middle of a request or read nothing of its answer: the memory held, the effect on others."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from e2e.faults.environment import Environment, Setting, mix
from e2e.faults.figure import Figure
from e2e.faults.measure import Measurement
from e2e.faults.quantile import latencies, p99
from e2e.faults.slowdowns import slowdown_figures
from e2e.faults.stalled_clients import (
    Client,
    NeverReads,
    StopSendingStreams,
    StopsSending,
    StreamsNeverRead,
    stalled_clients,
)
from e2e.kit.answers import Answer
from e2e.kit.gateway import attach
from e2e.kit.load import pause, run_load
from e2e.kit.processes import resident_memory
from e2e.kit.shared_build import is_engine_in_envoy

MIB = 2**20
RATE = 200.0  # of the others
SLOWER = 2.0
BARE_SLOWER = 4.0
"""While 150 MB of bodies a second arrive, the route without policies has been 1.4 to 2.2 times as slow, with nothing of
ours on its way: Envoy reads them on the same two cores.
"""
APIS = (
    ("unsent", attach("body-length")),  # of a request, whose body it reads
    ("unread", attach("faulty", {"how": "reply", "megabytes": 1})),
)


@dataclass(frozen=True)
class Stalling:
    """So many clients, opened so many a second, and then held for `seconds`. `growth`: bytes that the engine may have
    above what it has idle; `back_seconds`: after which it has no more of them than `left`; `limited`: whether others'
    p99 has a limit while they come, as it has while they stay.
    """

    clients: Sequence[Callable[[], Client]]
    per_second: float
    seconds: float
    growth: int = 256 * MIB
    back_seconds: float = 60.0
    limited: bool = True
    undisturbed_seconds: float = 15.0
    left: int = 32 * MIB
    memory: str = ""
    heap: int | None = None


def measure(stalling: Stalling, environment: Environment) -> list[Figure]:
    usual = environment.under(mix(RATE), stalling.undisturbed_seconds)
    idle = resident_memory(environment.gateway)
    with run_load(environment.tool, environment.address, mix(RATE)) as load:
        load.flowing()
        with stalled_clients(environment.gateway.port, stalling.clients, stalling.per_second) as clients:
            most, begun = most_held(
                environment, lambda: clients.begun.is_set() and not replying(environment), stalling.seconds
            )
        answers = load.stop()
    back = seconds_until(
        lambda: resident_memory(environment.gateway)["engine"] - idle["engine"] <= stalling.left,
        stalling.back_seconds * 2,
    )
    wrong = [answer for answer in answers if answer.outcome != "200"]
    return [
        *memory_figures({name: (most[name] - idle[name]) / MIB for name in ("engine", "envoy")}, back, stalling),
        *p99s("while they come", [answer for answer in answers if answer.due < begun], usual, stalling.limited),
        *p99s("while they stay", [answer for answer in answers if answer.due >= begun], usual, limited=True),
        Figure("answers of others other than 200", len(wrong), 0),
    ]


def memory_figures(grown: Mapping[str, float], back: float, stalling: Stalling) -> list[Figure]:
    """grown: MiB above idle. With the engine inside, what Envoy itself buffers counts too, and is not back until the
    clients have gone; it has a limit where Envoy's heap has one.
    """
    heap = stalling.heap and stalling.heap / MIB
    if is_engine_in_envoy():
        limit = heap and heap + stalling.growth / MIB
        return [Figure("Envoy with the engine above idle, MiB", grown["envoy"], limit), Figure("back after, s", back)]
    return [
        Figure("engine above idle, MiB", grown["engine"], stalling.growth / MIB),
        Figure("back after, s", back, stalling.back_seconds),
        Figure("Envoy above idle, MiB", grown["envoy"], heap),
    ]


def p99s(when: str, answers: Sequence[Answer], usual: Sequence[Answer], limited: bool) -> list[Figure]:
    slowdowns = {flow.name: slowdown(flow.name, answers, usual) for flow in mix(RATE)}
    found = slowdown_figures(slowdowns, SLOWER, BARE_SLOWER)
    return [Figure(f"{figure.name}, {when}", figure.value, figure.limit if limited else None) for figure in found]


def slowdown(flow: str, answers: Sequence[Answer], usual: Sequence[Answer]) -> float:
    return p99(latencies(answers, flow=flow)) / p99(latencies(usual, flow=flow))


def most_held(environment: Environment, begun: Callable[[], bool], seconds: float) -> tuple[dict[str, int], float]:
    """The most that each process held until so many seconds after all had begun; and when that was, since the epoch."""
    most: dict[str, int] = {}
    start = None
    while start is None or time.time() < start + seconds:
        if start is None and begun():
            start = time.time()
        for name, memory in resident_memory(environment.gateway).items():
            most[name] = max(most.get(name, 0), memory)
        pause(0.2)
    return most, start


def replying(environment: Environment) -> bool:
    """Whether answers to stalled clients are being made: each takes processor time from others, read or not. What a
    client holds is seen once they have been made.
    """
    policies = json.loads(environment.gateway.admin("engine", "/stats"))["policies"]
    return any(counters["active"] > 0 for counters in policies if counters["api"] == "unread")


def seconds_until(reached: Callable[[], bool], most: float) -> float:
    start = time.monotonic()
    while not reached() and time.monotonic() < start + most:
        pause(0.5)
    return time.monotonic() - start


def stalling(kind: Callable[[], Client], count: int, per_second: float, seconds: float = 30.0) -> Stalling:
    return Stalling(list(itertools.repeat(kind, count)), per_second, seconds)


GARBAGE = 80 * MIB
"""The memory that the engine may keep after answers have passed: 64 MiB of garbage, which stays until Go collects it
(two minutes, where nothing else runs), and the fragments of a used heap. Bodies that it has held itself it gives back
at once.
"""


def in_little_memory(load: Stalling) -> Stalling:
    """Measures a node whose Envoy has a third of this memory, and not the machine's. The delay of others while they
    come is only reported: to make so many answers of 1 MiB takes CPU from them, read or not.
    """
    return replace(load, memory="1536MiB", heap=512 * MIB, limited=False, left=GARBAGE)


SENDS = partial(StopsSending, "/unsent/x")
READS_NOT = partial(NeverReads, "/unread/x")
SENDS_STREAMS = partial(StopSendingStreams, "/unsent/x", 100)
STREAMS_UNREAD = partial(StreamsNeverRead, "/unread/x", 100)
STALLING = {
    "3,000 connections that stop after 1 MB of a 1 MiB body": stalling(SENDS, 3000, 150.0),
    "30 HTTP/2 connections with 100 such streams each": stalling(SENDS_STREAMS, 30, 1.5),
    "3,000 connections that read nothing of a 1 MiB answer": in_little_memory(stalling(READS_NOT, 3000, 50.0)),
    "30 HTTP/2 connections with 100 such answers each": in_little_memory(stalling(STREAMS_UNREAD, 30, 0.5)),
}
UNFINISHED = [
    Measurement(
        name, partial(measure, load), Setting(options=("--memory", load.memory) if load.memory else (), apis=APIS)
    )
    for name, load in STALLING.items()
]
