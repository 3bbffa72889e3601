"""`python -m bench shipped`: the cost of each shipped policy, above that of one in its language that sets a header.

Each is alone on a route at 64 connections, in turn with that policy; the unit is the cost of a request in plain Envoy.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import statistics
import tempfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import yaml

from bench import authorization, machine, tokens
from bench.error import BenchError
from bench.gateway import MANIFEST, Build
from bench.llm import rows as chat
from bench.peers import envoy
from bench.peers.site import Site
from bench.rounds import Named, gateway_with, mark, ratio, samples_of, start_bench, take_sample
from bench.rows import PLAIN, ROWS, Row
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
"""By language: the row with which the policies of that language are compared."""
BODY_LENGTH = Row("shipped-body-length", "body-length", ({"name": "body-length", "version": "v1"},), body=1024)
"""A policy in Python that counts the bytes of a body: the cost of reading a body, for comparison."""
API_KEY = "partner-key-of-128-bits-and-more"
KEYS = [
    {"hash": f"sha256:{hashlib.sha256(f'{API_KEY}-{index}'.encode()).hexdigest()}", "owner": "o"}
    for index in range(1000)
]
FIELDS = {"params", "timeout", "headers", "body", "text", "chat"}
NETWORKS = [f"10.{index}.0.0/16" for index in range(100)]
LONG = {
    "api-key-auth": {"params": {"keys": KEYS}, "headers": {"x-api-key": f"{API_KEY}-7"}},
    "ip-restriction": {"params": {"allow": [*NETWORKS, "127.0.0.0/8"]}},
}
"""Like the bench.yaml of these policies, for parameters that are too long for a file."""
(ENVOY_ALONE,) = (row for row in ROWS if row.key == PLAIN)


def main(arguments: Sequence[str]) -> None:
    """Prints a table in Markdown. BenchError on wrong answers."""
    parser = argparse.ArgumentParser(prog="bench shipped", description=__doc__)
    parser.add_argument("--policies", type=policies_of, metavar="NAME,…", help="some of the policies [default: all]")
    parser.add_argument("--rounds", type=int, default=9, help="samples of each row [default: 9]")
    parser.add_argument("--duration", type=float, default=2.0, help="seconds of a sample [default: 2]")
    options = parser.parse_args(arguments)
    settings = Settings(rounds=options.rounds, duration=options.duration)
    with tempfile.TemporaryDirectory(prefix="shipped-") as home, contextlib.ExitStack() as stack:
        operator = {SYSTEM_PARAMETERS: json.dumps({"audit-log": {"folder": home}})}
        stack.enter_context(mock.patch.dict(os.environ, operator))
        rows = tuple(row for row in measured_rows(stack) if not options.policies or row.title in options.policies)
        samples = list(_samples(settings, rows, stack, Path(home)))
    print(machine.describe(settings, ["shipped", *arguments]), "", *table(samples, rows), sep="\n")


def policies_of(text: str) -> frozenset[str]:
    """The names of a list with commas; each must be that of a folder that has a row."""
    names = frozenset(text.split(","))
    known = {path.parent.name for path in POLICIES.glob("*/policy-definition.yaml")}
    if unknown := sorted(names - known):
        raise argparse.ArgumentTypeError(f"expected policies that ship, got {', '.join(unknown)}")
    return names


def measured_rows(stack: contextlib.ExitStack) -> tuple[Row, ...]:
    """The rows of all shipped policies. The servers that they need run until the stack ends."""
    written = {path.parent.name: yaml.safe_load(path.read_text()) for path in POLICIES.glob("*/bench.yaml")}
    plain = [row_of(name, document) for name, document in (written | LONG).items()]
    authorized = [authorization.hmac_row(), stack.enter_context(authorization.opa_row())]
    identified = [tokens.jwt_row(), stack.enter_context(tokens.introspection_row()), tokens.oidc_row()]
    return tuple(sorted([*plain, BODY_LENGTH, *authorized, *identified], key=lambda row: row.title))


def row_of(policy: str, document: dict[str, Any]) -> Row:
    """The row of a policy by its bench.yaml: `params` and `timeout` of its attachment, `headers` of each request, and
    `body`, the bytes of each request's body, which is one string of JSON, or `text`, the body itself, or `chat`: true,
    for a chat completion. BenchError on another field.
    """
    if unknown := set(document) - FIELDS:
        expected = ", ".join(sorted(FIELDS))
        raise BenchError(f"policies/{policy}/bench.yaml: expected {expected}, got {', '.join(sorted(unknown))}")
    attachment = {"name": policy, "version": "v1"} | {
        field: document[field] for field in ("params", "timeout") if field in document
    }
    row = Row(
        f"shipped-{policy}",
        policy,
        (attachment,),
        sent=document.get("headers", {}),
        body=document.get("body", 0),
        text=document.get("text", ""),
    )
    if not document.get("chat"):
        return row
    return replace(row, resource=chat.PATH, text=chat.whole_question())


def write_manifest(folder: Path, only: Collection[str] = ()) -> Path:
    """Writes a build.yaml of all shipped policies and those of the bench, so that no policy is listed by hand. only:
    the names of the policies that are wanted; none for all."""
    document = yaml.safe_load(MANIFEST.read_text())
    folders = {path.parent.name: path.parent for path in POLICIES.glob("*/policy-definition.yaml")}
    folders |= {policy["name"]: (MANIFEST.parent / policy["filePath"]).resolve() for policy in document["policies"]}
    policies = [
        {"name": name, "filePath": str(path)} for name, path in sorted(folders.items()) if not only or name in only
    ]
    path = folder / "build.yaml"
    path.write_text(yaml.safe_dump({"version": "v1", "policies": policies}))
    return path


def _samples(settings: Settings, rows: tuple[Row, ...], stack: contextlib.ExitStack, folder: Path) -> Iterator[Named]:
    every = (ENVOY_ALONE, *BASES.values(), *rows)
    bench, upstream = start_bench(every, folder, stack)
    build = Build(write_manifest(folder), Path("build/bench/shipped"))
    ours = stack.enter_context(gateway_with({}, settings, folder, "gateway", build))
    plain = stack.enter_context(envoy.plain_envoy(Site(settings, ENVOY_ALONE, upstream, folder)))
    for number in range(settings.rounds):
        yield "", take_sample(bench, ENVOY_ALONE, number, plain, settings)
        for row in rows:
            pair = [(row.key, BASES[language(row.title)]), ("", row)]
            for name, measured_row in pair if number % 2 else pair[::-1]:
                yield name, take_sample(bench, measured_row, number, ours, settings)


def table(samples: Sequence[Named], rows: Sequence[Row]) -> Iterator[str]:
    """A line for each policy: its cost above the base of its language, which is measured right before or after it, in
    requests of plain Envoy.
    """
    yield "| policy | CPU µs | beyond one that sets a header, × plain Envoy |"
    yield "| --- | ---: | ---: |"
    plain = totals(samples, ENVOY_ALONE)
    yield f"| {ENVOY_ALONE.title} | {statistics.median(plain):.1f} | |"
    for base in BASES.values():
        if every := [sample.total for _, sample in samples if sample.row == base.key]:
            yield f"| {base.title} | {statistics.median(every):.1f} | |"
    for row in rows:
        own, base_beside = totals(samples, row), totals(samples, BASES[language(row.title)], row.key)
        beyond = [value - other for value, other in zip(own, base_beside, strict=True)]
        cost = f"{row.title}{mark(samples_of(samples, row, ''))} | {statistics.median(own):.1f}"
        yield f"| {cost} | {ratio(beyond, plain, 2)} |"


def totals(samples: Sequence[Named], row: Row, beside: str = "") -> list[float]:
    """The CPU of a row's samples, by round. beside: for a base, the row with which it was measured in turn."""
    return [sample.total for sample in samples_of(samples, row, beside)]


def language(policy: str) -> str:
    if policy not in {path.name for path in POLICIES.iterdir()}:
        return "python"  # a row of the bench for comparison
    definition = yaml.safe_load((POLICIES / policy / "policy-definition.yaml").read_text())
    return str(definition["runtime"])
