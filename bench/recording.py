"""`python -m bench recording`: the cost of recording every exchange, in one gateway that records in turn or not.

Go → Go and Go → Python → Go at 64 connections, round by round; in the mode "followed" a client also reads every
exchange as it ends. Ratios are medians of those within a round.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import socket
import statistics
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench import machine
from bench.error import BenchError
from bench.rounds import Named, gateway_with, mark, ratio, samples_of, start_bench, take_sample, turns
from bench.rows import GO as GO_ROW
from bench.rows import PYTHON, ROWS
from bench.settings import Settings
from bench.target import GO, Target

MEASURED = tuple(row for row in ROWS if row.key in (GO_ROW, PYTHON))
OFF, KEPT, FOLLOWED = "off", "recorded", "followed"
MODES = (OFF, KEPT, FOLLOWED)


def main(arguments: Sequence[str]) -> None:
    """Prints a table in Markdown. BenchError on wrong answers, and if the recordings exceed their bounds."""
    parser = argparse.ArgumentParser(prog="bench recording", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="samples of each row [default: 5]")
    parser.add_argument("--duration", type=float, default=2.0, help="seconds of a sample [default: 2]")
    options = parser.parse_args(arguments)
    settings = Settings(rounds=options.rounds, duration=options.duration)
    with tempfile.TemporaryDirectory(prefix="recording-") as home, contextlib.ExitStack() as stack:
        samples = list(_samples(settings, stack, Path(home)))
    print(machine.describe(settings, ["recording", *arguments]), "", *_table(samples), sep="\n")


def _samples(settings: Settings, stack: contextlib.ExitStack, folder: Path) -> Iterator[Named]:
    bench, _ = start_bench(MEASURED, folder, stack)
    target = stack.enter_context(gateway_with({}, settings, folder, "gateway"))
    for number, row, mode in turns(MEASURED, MODES, settings.rounds):
        with recording(target, mode):
            sample = take_sample(bench, row, number, target, settings)
        yield mode, sample


@contextlib.contextmanager
def recording(target: Target, mode: str) -> Iterator[None]:
    """Records all exchanges of the block, or none. Raises BenchError if none was recorded, or too much is kept."""
    if mode == OFF:
        yield
        return
    with contextlib.ExitStack() as stack:
        engine = stack.enter_context(contextlib.closing(_Admin(target)))
        before = engine.ask("GET", "/recordings")
        if mode == FOLLOWED:
            stack.enter_context(_follow(target))
        else:
            answer = engine.ask("POST", "/recordings", {"filter": {}, "seconds": 3600})
            stack.callback(engine.ask, "DELETE", f"/recordings/{answer['id']}")
        yield
        after = engine.ask("GET", "/recordings")
        if after["recorded"] <= before["recorded"] or after["keptBytes"] > after["maxBytes"] / 2 or after["refused"]:
            raise BenchError(f"expected exchanges to be recorded within bounds, got {after}")


@contextlib.contextmanager
def _follow(target: Target) -> Iterator[None]:
    """Runs a client that reads every exchange of the block."""
    with contextlib.closing(_Admin(target)) as engine:
        engine.request("GET", "/exchanges")
        answer = engine.getresponse()
        reader = threading.Thread(target=_read_all, args=(answer,), daemon=True)
        reader.start()
        try:
            yield
        finally:
            engine.shut_down()
            reader.join()


def _read_all(answer: http.client.HTTPResponse) -> None:
    with contextlib.suppress(OSError, ValueError, http.client.HTTPException, AttributeError):
        while answer.read1(1 << 16):
            pass


class _Admin(http.client.HTTPConnection):
    """The engine's admin socket."""

    def __init__(self, target: Target) -> None:
        if target.admin is None:
            raise BenchError("expected a target with an admin socket")
        super().__init__("admin", timeout=30)
        self._path = target.admin

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))

    def shut_down(self) -> None:
        """Ends the connection, and so the answer that another thread reads."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)

    def ask(self, method: str, path: str, content: object = None) -> dict[str, float]:
        self.request(method, path, json.dumps(content) if content else None)
        answer = self.getresponse()
        text = answer.read()
        if answer.status >= http.client.BAD_REQUEST:
            raise BenchError(f"{method} {path}: {answer.status} {text.decode()}")
        document: dict[str, float] = json.loads(text) if text else {}
        return document


def _table(samples: Sequence[Named]) -> Iterator[str]:
    yield "| row | recording | req/s | CPU engine, µs | CPU all, µs | × off |"
    yield "| --- | --- | ---: | ---: | ---: | ---: |"
    for row in MEASURED:
        off = samples_of(samples, row, OFF)
        for mode in MODES:
            own = samples_of(samples, row, mode)
            figures = (
                f"{statistics.median(sample.rate for sample in own):,.0f}",
                f"{statistics.median(sample.cpu[GO] for sample in own):,.1f}",
                f"{statistics.median(sample.total for sample in own):,.1f}",
                ratio([sample.total for sample in own], [sample.total for sample in off], 2),
            )
            yield f"| {row.title}{mark(own)} | {mode} | {' | '.join(figures)} |"
