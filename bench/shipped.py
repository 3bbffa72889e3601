"""`python -m bench shipped`: the cost of a policy that ships, above that of one in its language that sets a header.

Each alone on a route at 64 connections, and in turn with that one; the unit is the cost of a request in plain Envoy.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from unittest import mock

import yaml

from bench import authorization, bodies, machine, tokens
from bench.peers import envoy
from bench.peers.site import Site
from bench.rounds import Named, gateway_with, mark, ratio, samples_of, start_bench, take_sample
from bench.rows import PLAIN, ROWS, Attachment, Row
from bench.settings import Settings

SYSTEM_PARAMETERS = "GATEWRIGHT_CONTROLLER_SYSTEM_PARAMETERS"
POLICIES = Path(__file__).resolve().parent.parent / "policies"
HEADER = {"name": "x-bench", "value": "1"}
BASES = {
    "go": Row("set-one-header", "add-headers, one of the request", (
        {"name": "add-headers", "version": "v1", "params": {"requestHeaders": [HEADER]}},
    )),
    "python": Row("set-one-header-python", "one of the request, in Python", ({"name": "set-header", "version": "v1"},)),
}  # fmt: skip
"""By language, of which each policy that ships is compared with its own."""
API_KEY, BASIC = "partner-key-of-128-bits-and-more", "Basic YW5uOmNvcnJlY3QgaG9yc2U="
HASHED = "$argon2id$v=19$m=19456,t=2,p=1$7QorTkf/0h6BjUlkGQ2T2g$DAvDIO4Z0bO9d/OvoN82zPtpLF8iYzOFOkP/Qp5N8Mc"
KEYS = [
    {"hash": f"sha256:{hashlib.sha256(f'{API_KEY}-{index}'.encode()).hexdigest()}", "owner": "o"}
    for index in range(1000)
]
NETWORKS = [f"10.{index}.0.0/16" for index in range(100)]
RULES = {
    "deny": [{"when": 'request.path.contains("/internal/")'}],
    "allow": [
        {"when": 'request.method == "POST"'},
        {"when": 'request.headers["x-tenant"] == "gold"'},
        {"when": 'cidr("127.0.0.0/8").containsIP(request.client_ip) && request.method == "GET"'},
    ],
}
SET = [{"name": "x-client", "value": "${client.ip}"}, {"name": "x-api", "value": "${api.name} ${request.method}"}]
SHIPPED: dict[str, Attachment] = {
    "api-key-auth": {"name": "api-key-auth", "version": "v1", "params": {"keys": KEYS}},
    "audit-log": {"name": "audit-log", "version": "v1"},
    "basic-auth": {
        "name": "basic-auth",
        "version": "v1",
        "timeout": "5s",
        "params": {"users": [{"username": "ann", "passwordHash": HASHED}]},
    },
    "cel-authz": {"name": "cel-authz", "version": "v1", "params": RULES},
    "concurrency-limit": {"name": "concurrency-limit", "version": "v1", "params": {"max": 10_000}},
    "cors": {"name": "cors", "version": "v1", "params": {"allowOrigins": ["https://app.example"]}},
    "ip-restriction": {"name": "ip-restriction", "version": "v1", "params": {"allow": [*NETWORKS, "127.0.0.0/8"]}},
    "quota": {"name": "quota", "version": "v1", "params": {"requests": 1_000_000_000, "period": "month"}},
    "rate-limit": {"name": "rate-limit", "version": "v1", "params": {"limits": [{"requests": 1_000_000, "per": "1s"}]}},
    "request-id": {"name": "request-id", "version": "v1"},
    "rewrite": {"name": "rewrite", "version": "v1", "params": {"path": {"prefix": {"from": "/", "to": "/v2"}}}},
    "set-headers": {"name": "set-headers", "version": "v1", "params": {"request": {"set": SET}}},
}
"""Policies that pass a request on; those that answer it cost less. With those of `measured_rows`."""
SENT = {"api-key-auth": {"x-api-key": f"{API_KEY}-7"}, "basic-auth": {"Authorization": BASIC}}
"""Headers of requests, beside those of all."""
(ENVOY_ALONE,) = (row for row in ROWS if row.key == PLAIN)


def main(arguments: Sequence[str]) -> None:
    """Prints a table in Markdown. BenchError on wrong answers."""
    parser = argparse.ArgumentParser(prog="bench shipped", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9, help="samples of each row [default: 9]")
    parser.add_argument("--duration", type=float, default=2.0, help="seconds of a sample [default: 2]")
    options = parser.parse_args(arguments)
    settings = Settings(rounds=options.rounds, duration=options.duration)
    with tempfile.TemporaryDirectory(prefix="shipped-") as home, contextlib.ExitStack() as stack:
        operator = {SYSTEM_PARAMETERS: json.dumps({"audit-log": {"folder": home}})}
        stack.enter_context(mock.patch.dict(os.environ, operator))
        rows = measured_rows(stack)
        samples = list(_samples(settings, rows, stack, Path(home)))
    print(machine.describe(settings, ["shipped", *arguments]), "", *table(samples, rows), sep="\n")


def measured_rows(stack: contextlib.ExitStack) -> tuple[Row, ...]:
    """The rows of all that ships; what they need ends with the stack."""
    plain = [
        Row(f"shipped-{name}", name, (attachment,), sent=SENT.get(name, {})) for name, attachment in SHIPPED.items()
    ]
    authorized = [authorization.hmac_row(), stack.enter_context(authorization.opa_row())]
    identified = [tokens.jwt_row(), stack.enter_context(tokens.introspection_row()), tokens.oidc_row()]
    return tuple(sorted([*plain, *authorized, *identified, *bodies.rows()], key=lambda row: row.title))


def _samples(settings: Settings, rows: tuple[Row, ...], stack: contextlib.ExitStack, folder: Path) -> Iterator[Named]:
    every = (ENVOY_ALONE, *BASES.values(), *rows)
    bench, upstream = start_bench(every, folder, stack)
    ours = stack.enter_context(gateway_with({}, settings, folder, "gateway"))
    plain = stack.enter_context(envoy.plain_envoy(Site(settings, ENVOY_ALONE, upstream, folder)))
    for number in range(settings.rounds):
        yield "", take_sample(bench, ENVOY_ALONE, number, plain, settings)
        for row in rows:
            pair = [(row.key, BASES[language(row.title)]), ("", row)]
            for name, measured_row in pair if number % 2 else pair[::-1]:
                yield name, take_sample(bench, measured_row, number, ours, settings)


def table(samples: Sequence[Named], rows: Sequence[Row]) -> Iterator[str]:
    """A line for each policy: its cost above the base of its language, which is measured right beside it, in requests
    of plain Envoy.
    """
    yield "| policy | CPU µs | beyond one that sets a header, × plain Envoy |"
    yield "| --- | ---: | ---: |"
    plain = totals(samples, ENVOY_ALONE)
    yield f"| {ENVOY_ALONE.title} | {statistics.median(plain):.1f} | |"
    for base in BASES.values():
        every = [sample.total for _, sample in samples if sample.row == base.key]
        yield f"| {base.title} | {statistics.median(every):.1f} | |"
    for row in rows:
        own, base_beside = totals(samples, row), totals(samples, BASES[language(row.title)], row.key)
        beyond = [value - other for value, other in zip(own, base_beside, strict=True)]
        cost = f"{row.title}{mark(samples_of(samples, row, ''))} | {statistics.median(own):.1f}"
        yield f"| {cost} | {ratio(beyond, plain, 2)} |"


def totals(samples: Sequence[Named], row: Row, beside: str = "") -> list[float]:
    """By round. beside: of a base, the row with which it was measured."""
    return [sample.total for sample in samples_of(samples, row, beside)]


def language(policy: str) -> str:
    if policy not in {path.name for path in POLICIES.iterdir()}:
        return "python"  # what the bench has for comparison
    definition = yaml.safe_load((POLICIES / policy / "policy-definition.yaml").read_text())
    return str(definition["runtime"])
