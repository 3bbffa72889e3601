"""Three nodes that have joined a controller: one is cut off and comes back, one is killed and replaced,
one starts while all else is away."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path

from e2e.kit.gateway import eventually
from e2e.kit.load import pause
from e2e.kit.namespaces import skip_reason
from e2e.outages.fleet import Fleet, fleet
from e2e.outages.report import Result, show
from e2e.outages.stage import flags_of, wait_for
from e2e.outages.writers import Site

NOTICED_SECONDS = {"the node": 20.0, "the controller": 20.0}
"""Pings tell each end that the other one is cut off within 15 s (docs/how-to/operations.md), and some more on a
busy machine."""
SHORT_SECONDS, LONG_SECONDS = 4.0, 25.0
"""TCP's waits double: after a cut that neither end has noticed, the next one may last as long as the cut did."""
CONVERGED_SECONDS, ROOM = 2.0, 2.0


def run(tool: Path, build: Path, words: Sequence[str]) -> list[Result]:
    """The outages whose names have all the words; the last result is of all requests."""
    chosen = [(name, cause) for name, cause in OUTAGES.items() if all(word in name for word in words)]
    if not chosen:
        return []
    with fleet(tool, build) as nodes:
        for name, cause in chosen:
            nodes.timeline.note(name)
            figures, mistakes = cause(nodes)
            skipped = "" if figures else f" (skipped: {skip_reason()})"
            nodes.results.append(show(Result(f"{name}{skipped}", figures, mistakes)))
        for traffic in nodes.traffic.values():
            traffic.stop()
        return [*nodes.results, show(account(nodes))]


Caused = tuple[dict[str, float], list[str]]


def pull_cable(nodes: Fleet) -> Caused:
    """Packets are lost, and the network is there again: before either end notices, and long after both have."""
    if nodes.namespace is None:
        return {}, []
    figures, mistakes = dict[str, float](), list[str]()
    for seconds in (SHORT_SECONDS, LONG_SECONDS):
        nodes.namespace.cut()
        cut = nodes.timeline.note("the cable of edge-2 is pulled out")
        with nodes.writing():
            pause(seconds)
            nodes.converged(nodes.write(), ["edge-1", "edge-3"], cut)
        stamp = nodes.write()
        nodes.namespace.restore()
        restored = nodes.timeline.note("the cable of edge-2 is plugged in")
        found, more = converge(nodes, stamp, ["edge-2"], restored, {}, [], seconds if seconds == SHORT_SECONDS else 0)
        figures |= {f"{name}, after {seconds:g} s": value for name, value in found.items()}
        mistakes += more
    return figures, mistakes


def cut_off(nodes: Fleet) -> Caused:
    """The connection of a node stays open at both ends, and nothing arrives; then the network is there again."""
    node = nodes.nodes["edge-1"]
    cut = nodes.timeline.note("the network of edge-1 is cut")
    nodes.network.cut()
    with nodes.writing():
        noticed = {
            "the node": partial(logged, node, cut, message="connection to the controller lost"),
            "the controller": partial(logged, nodes.hub, cut, message="node disconnected", node="edge-1"),
        }
        figures, mistakes = dict[str, float](), list[str]()
        for end, look in noticed.items():
            with contextlib.suppress(AssertionError):
                wait_for("", partial(is_logged, look), 2 * NOTICED_SECONDS[end] - (time.time() - cut))
            figures[f"noticed by {end}, s"] = look() - cut if look() else -1.0
            if not 0 < look() - cut <= NOTICED_SECONDS[end]:
                mistakes.append(f"{end} noticed the cut after {figures[f'noticed by {end}, s']:.1f} s (-1: never)")
        nodes.converged(nodes.write(), ["edge-2", "edge-3"], cut)
    stamp = nodes.write()
    nodes.network.restore()
    restored = nodes.timeline.note("the network of edge-1 is there again")
    return converge(nodes, stamp, ["edge-1"], restored, figures, mistakes)


def converge(
    nodes: Fleet,
    stamp: str,
    names: Sequence[str],
    since: float,
    figures: dict[str, float],
    mistakes: list[str],
    tcp_seconds: float = 0,
) -> Caused:
    """What came of it, with the time until these nodes served the stamp. tcp_seconds: that TCP may wait before it sends
    again on a connection which neither end has given up."""
    try:
        figures["converged, s"] = nodes.converged(stamp, names, since)
    except AssertionError as error:
        return figures, [*mistakes, str(error)]
    if figures["converged, s"] > CONVERGED_SECONDS * ROOM + tcp_seconds:
        expected = CONVERGED_SECONDS + tcp_seconds
        mistakes.append(f"converged {figures['converged, s']:.2f} s after the return, expected {expected:g} s")
    return figures, mistakes


def is_logged(look: Callable[[], float]) -> bool:
    return look() > 0


def logged(site: Site, since: float, **fields: object) -> float:
    """When it was logged first after then; 0: not yet."""
    times = [datetime.fromisoformat(str(r["time"])).timestamp() for r in site.gateway.find_records(**fields)]
    return min((at for at in times if at >= since), default=0.0)


def kill_and_replace(nodes: Fleet) -> Caused:
    """All processes of a node are killed; another node comes in its place."""
    killed = nodes.nodes["edge-2"]
    nodes.traffic["edge-2"].stop()
    os.killpg(killed.gateway.process.pid, signal.SIGKILL)
    for process in killed.gateway.status()["processes"]:
        with contextlib.suppress(ProcessLookupError, TypeError):
            os.kill(process["pid"], signal.SIGKILL)
    at = nodes.timeline.note("edge-2 is killed")
    stamp = nodes.write()
    figures = {"others have a write, s": nodes.converged(stamp, ["edge-1", "edge-3"], at)}
    eventually("the controller forgets the node", lambda: "edge-2" not in connected(nodes))
    figures["forgotten, s"] = time.time() - at
    nodes.start_node("edge-4", f"127.0.0.1:{nodes.port}")
    started = nodes.timeline.note("edge-4 is ready")
    caused = converge(nodes, stamp, ["edge-4"], started, figures, [])
    nodes.load("edge-4")
    return caused


def connected(nodes: Fleet) -> list[str]:
    """The ids of connected nodes."""
    with nodes.hub.client() as client:
        return [node["id"] for node in client.get("/v1/nodes").raise_for_status().json()["nodes"]]


def start_alone(nodes: Fleet) -> Caused:
    """A node starts from its disk, without the controller; then the controller is back."""
    stamp = nodes.write()
    nodes.converged(stamp, ["edge-1", "edge-3"], time.time())
    nodes.traffic["edge-3"].stop()
    nodes.nodes["edge-3"].gateway.stop()
    nodes.hub.gateway.stop()
    nodes.timeline.note("the hub is away")
    began = time.time()
    nodes.start_node("edge-3", f"127.0.0.1:{nodes.port}")
    figures = {"serves from its disk, s": nodes.converged(stamp, ["edge-3"], began)}
    before = nodes.traffic["edge-3"]
    nodes.load("edge-3")
    nodes.traffic["edge-3, before"] = before
    pause(2.0)
    nodes.start_hub()
    returned = nodes.timeline.note("the hub is back")
    return converge(nodes, nodes.write(), ["edge-1", "edge-3"], returned, figures, [])


OUTAGES: dict[str, Callable[[Fleet], Caused]] = {
    "a node is cut off and comes back": cut_off,
    "a node's cable is pulled out": pull_cable,
    "a node is killed and another one comes": kill_and_replace,
    "a node starts with all else away": start_alone,
}


def account(nodes: Fleet) -> Result:
    """All requests to nodes while these were up."""
    failures = [failure for traffic in nodes.traffic.values() for failure in traffic.failures()]
    mistakes = [f"{nodes.timeline.describe(f)}; {flags_of(nodes.nodes[f.target.node], f)}" for f in failures]
    mistakes += sorted(set(nodes.journal.improper))
    figures = {
        "requests": float(sum(len(traffic.requests) for traffic in nodes.traffic.values())),
        "not 200": float(len(failures)),
        "writes": float(len(nodes.journal.writes)),
    }
    return Result("all requests to nodes", figures, mistakes)
