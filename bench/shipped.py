"""`python -m bench shipped`: what a policy that ships costs a request, beyond one of its language that sets a header.

Each alone on a route at 64 connections; the unit is what a request costs plain Envoy, which is measured in between.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench import machine
from bench.peers import envoy
from bench.peers.site import Site
from bench.rounds import Named, gateway_with, mark, of, ratio, started, take, turns
from bench.rows import PLAIN, ROWS, Attachment, Row, add_python_header
from bench.settings import Settings

HEADER = {"name": "x-bench", "value": "1"}
BASE = Row("set-one-header", "add-headers, one of the request", (
    {"name": "add-headers", "version": "v1", "params": {"requestHeaders": [HEADER]}},
))  # fmt: skip
BASE_PYTHON = Row("set-header-python", "add-python-header, one each way", (add_python_header(),))
"""Of those that are Python."""
API_KEY, BASIC = "partner-key-of-128-bits-and-more", "Basic YW5uOmNvcnJlY3QgaG9yc2U="
HASHED = "$argon2id$v=19$m=19456,t=2,p=1$7QorTkf/0h6BjUlkGQ2T2g$DAvDIO4Z0bO9d/OvoN82zPtpLF8iYzOFOkP/Qp5N8Mc"
KEYS = [
    {"hash": f"sha256:{hashlib.sha256(f'{API_KEY}-{one}'.encode()).hexdigest()}", "owner": "o"} for one in range(1000)
]
NETWORKS = [f"10.{one}.0.0/16" for one in range(100)]
SHIPPED: dict[str, Attachment] = {
    "api-key-auth": {"name": "api-key-auth", "version": "v1", "params": {"keys": KEYS}},
    "basic-auth": {
        "name": "basic-auth",
        "version": "v1",
        "timeout": "5s",
        "params": {"users": [{"username": "ann", "passwordHash": HASHED}]},
    },
    "cors": {"name": "cors", "version": "v1", "params": {"allowOrigins": ["https://app.example"]}},
    "ip-restriction": {"name": "ip-restriction", "version": "v1", "params": {"allow": [*NETWORKS, "127.0.0.0/8"]}},
}
"""Those that pass a request on; what answers it costs less than what does not."""
SENT = {"api-key-auth": {"x-api-key": f"{API_KEY}-7"}, "basic-auth": {"Authorization": BASIC}}
"""Headers of requests, beside those of all."""
ALONE = [Row(f"shipped-{name}", name, (one,), sent=SENT.get(name, {})) for name, one in SHIPPED.items()]
MEASURED = (BASE, BASE_PYTHON, *ALONE)
PYTHON = ("basic-auth",)
(ENVOY_ALONE,) = (row for row in ROWS if row.key == PLAIN)


def main(arguments: Sequence[str]) -> None:
    """Prints a table in Markdown. BenchError on wrong answers."""
    parser = argparse.ArgumentParser(prog="bench shipped", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9, help="samples of each row [default: 9]")
    parser.add_argument("--duration", type=float, default=2.0, help="seconds of a sample [default: 2]")
    options = parser.parse_args(arguments)
    settings = Settings(rounds=options.rounds, duration=options.duration)
    with tempfile.TemporaryDirectory(prefix="shipped-") as home, contextlib.ExitStack() as stack:
        samples = list(_samples(settings, stack, Path(home)))
    print(machine.describe(settings, ["shipped", *arguments]), "", *table(samples), sep="\n")


def _samples(settings: Settings, stack: contextlib.ExitStack, folder: Path) -> Iterator[Named]:
    every = (ENVOY_ALONE, *MEASURED)
    bench, upstream = started(every, folder, stack)
    ours = stack.enter_context(gateway_with({}, settings, folder, "gateway"))
    plain = stack.enter_context(envoy.plain_envoy(Site(settings, ENVOY_ALONE, upstream, folder)))
    for number, row, name in turns(every, [""], settings.rounds):
        yield name, take(bench, row, number, plain if row.key == PLAIN else ours, settings)


def table(samples: Sequence[Named]) -> Iterator[str]:
    """A line for each policy: what it costs more than BASE, in requests of plain Envoy."""
    yield "| policy | CPU µs | beyond one that sets a header, × plain Envoy |"
    yield "| --- | ---: | ---: |"
    plain = [sample.total for sample in of(samples, ENVOY_ALONE, "")]
    for row in (ENVOY_ALONE, *MEASURED):
        own = of(samples, row, "")
        base = [sample.total for sample in of(samples, BASE_PYTHON if row.title in PYTHON else BASE, "")]
        beyond = [sample.total - other for sample, other in zip(own, base, strict=True)]
        cost = f"{statistics.median(sample.total for sample in own):.1f}"
        yield f"| {row.title}{mark(own)} | {cost} | {ratio(beyond, plain, 2) if row.key != PLAIN else ''} |"
