"""`python -m bench tls`: the gateway beside plain Envoy, with clients that speak TLS and the same settings of TLS.

The rows are measured over connections that stay open, and with a new connection, and so a whole handshake, for each
request. Every other round goes backwards; ratios are medians of those within a round.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import socket
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bench import load_tool, machine, rows
from bench.certificate import Certificate, certificate_in
from bench.error import BenchError
from bench.gateway import gateway
from bench.load_tool import Load
from bench.peers.envoy import BOOTSTRAP, LISTENER, LOG, bootstrap, command
from bench.processes import HOST, free_port, running, tail
from bench.rows import NONE, PLAIN, PYTHON_1, ROWS, Row
from bench.sample import Bench, Sample, take_undisturbed
from bench.settings import Settings
from bench.target import ENVOY, Target

MEASURED = tuple(row for row in ROWS if row.key in (PLAIN, NONE, PYTHON_1))
KEPT, ANEW = "kept", "new"
CONNECTIONS = {KEPT: 64, ANEW: 16}
CIPHERS = [
    f"ECDHE-{key}-{cipher}"
    for cipher in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305")
    for key in ("ECDSA", "RSA")
]
"""The gateway's defaults (docs/reference/gateway.md)."""

START_SECONDS = 20.0


def main(arguments: Sequence[str]) -> None:
    """Prints a table in Markdown. BenchError on wrong answers."""
    parser = argparse.ArgumentParser(prog="bench tls", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="samples of each row [default: 5]")
    parser.add_argument("--duration", type=float, default=2.0, help="seconds of a sample [default: 2]")
    options = parser.parse_args(arguments)
    settings = Settings(rounds=options.rounds, duration=options.duration)
    with tempfile.TemporaryDirectory(prefix="tls-") as home, contextlib.ExitStack() as stack:
        samples = {kind: list(_samples(settings, kind, stack, Path(home) / kind)) for kind in CONNECTIONS}
    print(machine.describe(settings, ["tls", *arguments]))
    for kind, samples_of_kind in samples.items():
        print("", f"### {CONNECTIONS[kind]} connections, {_describe(kind)}", "", *_table(samples_of_kind), sep="\n")


def _describe(kind: str) -> str:
    return "which stay open" if kind == KEPT else "a new one for each request"


def _samples(settings: Settings, kind: str, stack: contextlib.ExitStack, folder: Path) -> Iterator[Sample]:
    folder.mkdir()
    certificate = certificate_in(folder)
    binary, expectations = load_tool.build(folder), folder / "expectations.json"
    rows.write_expectations(MEASURED, expectations)
    pid, upstream = stack.enter_context(load_tool.upstream(binary, expectations, folder))
    rows.write_apis(MEASURED, upstream, folder / "apis")
    ours = stack.enter_context(
        gateway(settings, folder / "apis", folder, document=_document(certificate, folder / "gateway.yaml"))
    )
    plain = stack.enter_context(_plain(settings, upstream, certificate, folder))
    bench = Bench(binary, pid, folder)
    for number in range(settings.rounds):
        for row in MEASURED if number % 2 else MEASURED[::-1]:
            target = plain if row.key == PLAIN else ours
            sample = take_undisturbed(
                _measure(bench, row, number, target, settings, kind, certificate), settings.repeats
            )
            if sample.result.failures:
                raise BenchError(f"{row.key}: {sample.result.failures} wrong answers: {sample.result.first_failure}")
            yield sample


def _measure(
    bench: Bench, row: Row, number: int, target: Target, settings: Settings, kind: str, certificate: Certificate
) -> Callable[[], Sample]:
    url = f"https://{HOST}:{target.port}{row.path}"
    load = Load(
        url, CONNECTIONS[kind], settings.warmup, settings.duration, expect=row.client, authority=certificate.chain,
        anew=kind == ANEW,
    )  # fmt: skip
    return lambda: bench.measure(row.key, number, target, load)


def _document(certificate: Certificate, file: Path) -> Path:
    """Writes a Gateway with one listener of TLS. JSON is YAML."""
    spec = {
        "listeners": [{"name": "https", "protocol": "https", "tls": {"certificates": ["own"]}}],
        "certificates": {"own": {"certificateFile": str(certificate.chain), "keyFile": str(certificate.key)}},
    }
    file.write_text(json.dumps({"apiVersion": "gatewright.dev/v1", "kind": "Gateway", "spec": spec}))
    return file


@contextlib.contextmanager
def _plain(settings: Settings, upstream: str, certificate: Certificate, folder: Path) -> Iterator[Target]:
    """Plain Envoy as in the other rows, with the gateway's settings of TLS."""
    row, port, log = MEASURED[0], free_port(), folder / LOG
    document = bootstrap(BOOTSTRAP.read_text(), LISTENER.read_text(), port, row.prefix, upstream)
    resources = document["static_resources"]
    for chain in resources["listeners"][0]["filter_chains"]:  # type: ignore[index]
        chain["transport_socket"] = _transport_socket(certificate)
    config = folder / "envoy.json"
    config.write_text(json.dumps(document))
    with running(command(config, settings.concurrency), log) as process:
        _await_port(port, log)
        yield Target(port, lambda: {ENVOY: (process.pid,)}, log)


def _transport_socket(certificate: Certificate) -> dict[str, object]:
    files = {
        "certificate_chain": {"filename": str(certificate.chain)},
        "private_key": {"filename": str(certificate.key)},
    }
    parameters = {
        "tls_minimum_protocol_version": "TLSv1_2",
        "tls_maximum_protocol_version": "TLSv1_3",
        "cipher_suites": CIPHERS,
    }
    common = {"alpn_protocols": ["h2", "http/1.1"], "tls_params": parameters, "tls_certificates": [files]}
    kind = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"
    return {"name": "tls", "typed_config": {"@type": kind, "common_tls_context": common}}


def _await_port(port: int, log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1):
            return
        time.sleep(0.05)
    raise BenchError(f"expected plain Envoy to listen on port {port} within {START_SECONDS:g} s\n{tail(log)}")


def _table(samples: Sequence[Sample]) -> Iterator[str]:
    yield "| row | req/s | × plain | CPU Envoy | × plain | CPU all | × plain |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    figures: tuple[Callable[[Sample], float], ...] = (
        lambda sample: sample.rate,
        lambda sample: sample.cpu[ENVOY],
        lambda sample: sample.total,
    )
    plain = {sample.round: sample for sample in samples if sample.row == PLAIN}
    for row in MEASURED:
        own = [sample for sample in samples if sample.row == row.key]
        cells = [cell for figure in figures for cell in _cells(own, plain, figure)]
        mark = " \\*" if any(sample.disturbed for sample in own) else ""
        yield f"| {row.title}{mark} | {' | '.join(cells)} |"


def _cells(own: Sequence[Sample], plain: dict[int, Sample], figure: Callable[[Sample], float]) -> Iterator[str]:
    """The median of a figure, and the median and the range of its ratios to plain Envoy's."""
    ratios = [figure(sample) / figure(plain[sample.round]) for sample in own]
    yield f"{statistics.median(map(figure, own)):,.0f}"
    yield f"{statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})"
