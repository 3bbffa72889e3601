"""Updates of APIs one after another, under requests to all of them: no answer is of a wrong chain.

Each update has a number, by which its chain stamps responses: once in Go, once in Python. An update is acknowledged
once it is deployed. An answer has to have both stamps alike, none older than the newest that was acknowledged before
its request was sent, and none newer than the newest that was written before it was there.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from e2e.kit.gateway import Json, api, attach
from e2e.kit.load import pause, run_checking_upstream
from e2e.outages.report import Result, show
from e2e.outages.stage import flags_of, site_of
from e2e.outages.timeline import Timeline
from e2e.outages.traffic import STAMP, Request, Target, Traffic, running_traffic
from e2e.outages.writers import Site

NAME = "updates one after another"
PRODUCTS, VERSIONS = ("orders", "stock"), ("v1.0", "v2.0", "v3.0")
RATE = 300.0
DEPLOYED_SECONDS = "15"
PYTHON_STAMP = "x-order"
"""The header of the policy "mark": NAME(), of what was looked for and found."""
LAST_SECONDS = 1.0


@dataclass
class Versions:
    """The numbers of updates by API: of the newest that is deployed, and of the newest that was written."""

    deployed: dict[str, int] = field(default_factory=dict)
    written: dict[str, int] = field(default_factory=dict)

    def floor(self, target: Target) -> int:
        """No answer may be of an older update."""
        return self.deployed.get(name_of(target), 0)

    def ceiling(self, target: Target) -> int:
        """No answer may be of a newer update."""
        return self.written.get(name_of(target), 0)


def name_of(target: Target) -> str:
    """Of the API: orders-v2-0 for /orders/v2.0/x."""
    _, product, version, _ = target.path.split("/")
    return named(product, version)


def named(product: str, version: str) -> str:
    return f"{product}-{version.replace('.', '-')}"


def wrong_chain(request: Request) -> str:
    """Why an answer is of a wrong chain; "" where it is of a right one."""
    go, python = request.stamp, dict(request.headers).get(PYTHON_STAMP, "").removesuffix("()")
    if go != python:
        return f"one chain has answered with the stamps {go!r} of Go and {python!r} of Python"
    if not go.isdecimal():
        return f"expected a stamp, got {go!r}"
    if not request.floor <= int(go) <= request.ceiling:
        return f"expected a stamp from {request.floor} to {request.ceiling}, got {go}"
    return ""


def document(product: str, version: str, upstream: str, number: int) -> Json:
    """Every second update changes the routes too, and every third one the cluster."""
    name = named(product, version)
    header = {"name": STAMP, "value": str(number)}
    chain = [attach("add-headers", {"responseHeaders": [header]}), attach("mark", {"name": str(number)})]
    operations = [{"method": "GET", "path": path} for path in ("/x", *(["/y/{id}"] if number % 2 else []))]
    made = api(name, f"{upstream}/{product}{number % 3}", chain, operations)
    made["spec"] |= {"context": f"/{product}/$version", "version": version}
    return made


def run(tool: Path, build: Path, words: Sequence[str], count: int) -> list[Result]:
    """So many updates."""
    if not all(word in NAME for word in words):
        return []
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="updates-")))
        paths = {f"/{product}{number}": dict[str, str]() for product in PRODUCTS for number in range(3)}
        upstream = stack.enter_context(run_checking_upstream(tool, paths))
        site = stack.enter_context(site_of("one", build, folder, "GATEWRIGHT_CONTROLLER_LOG_LEVEL=warning", upstream))
        versions, timeline = Versions(), Timeline()
        apis = [(product, version) for product in PRODUCTS for version in VERSIONS]
        for number, (product, version) in enumerate(apis):
            site.gateway.deploy(document(product, version, upstream, number))
            name = named(product, version)
            versions.deployed[name] = versions.written[name] = number
        targets = [Target("one", site.gateway.port, f"/{product}/{version}/x") for product, version in apis]
        traffic = Traffic(targets, RATE, versions.floor, versions.ceiling)
        with running_traffic(traffic):
            times = list(updates(site, apis, count, versions, timeline))
            pause(LAST_SECONDS)
        return [show(result(site, traffic, times, timeline))]


def updates(
    site: Site, apis: Sequence[tuple[str, str]], count: int, versions: Versions, timeline: Timeline
) -> Iterator[float]:
    """Makes them; how long each took until it was deployed."""
    with site.client() as client:
        for number in range(len(apis), len(apis) + count):
            product, version = apis[number % len(apis)]
            name, began = named(product, version), time.monotonic()
            timeline.note(f"update {number} of {name} is written")
            versions.written[name] = number
            body = document(product, version, site.upstream, number)
            answer = client.put(f"/v1/apis/{name}", json=body, params={"wait": DEPLOYED_SECONDS})
            state = answer.raise_for_status().json()["status"]["state"]
            assert state == "deployed", f"update {number}: {answer.text}"
            versions.deployed[name] = number
            timeline.note(f"update {number} of {name} is deployed")
            yield time.monotonic() - began


def result(site: Site, traffic: Traffic, times: Sequence[float], timeline: Timeline) -> Result:
    """What the requests have met."""
    failures = traffic.failures()
    wrong = [(request, why) for request in traffic.requests if request.status == 200 and (why := wrong_chain(request))]
    mistakes = [f"{timeline.describe(request)}; {flags_of(site, request)}" for request in failures]
    mistakes += [f"{why}: {timeline.describe(request)}" for request, why in wrong]
    ordered = sorted(times)
    figures = {
        "updates": float(len(times)),
        "requests": float(len(traffic.requests)),
        "not 200": float(len(failures)),
        "of a wrong chain": float(len(wrong)),
        "deployed in, p50 s": ordered[len(ordered) // 2],
        "p95 s": ordered[int(0.95 * len(ordered))],
        "max s": ordered[-1],
        "requests sent late": float(traffic.late),
    }
    return Result(NAME, figures, mistakes)
