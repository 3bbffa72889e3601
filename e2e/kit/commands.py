"""Commands on a gateway that runs: `gatewright apply`, `tail` and `explain`, and what they print."""

from __future__ import annotations

import json
import queue
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from e2e.kit.gateway import Gateway, eventually

LIMIT_SECONDS = 60.0


def command(gateway: Gateway, *arguments: str) -> list[str]:
    return ["gatewright", *arguments, "--run-dir", str(gateway.run_dir)]


def apply(gateway: Gateway, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    command = ["gatewright", "apply", "--run-dir", str(gateway.run_dir), *arguments]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=60)


class Tail:
    """A command that prints lines as exchanges end."""

    def __init__(self, gateway: Gateway, *arguments: str) -> None:
        words = command(gateway, *arguments)
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self._lines: queue.Queue[tuple[float, str]] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        with self.process.stdout as lines:
            for line in lines:
                self._lines.put((time.monotonic(), line))

    def line(self) -> str:
        return self.timed()[1]

    def timed(self) -> tuple[float, str]:
        """The time at which the next line came, and the line."""
        return self._lines.get(timeout=LIMIT_SECONDS)

    def end(self, number: int | None = None) -> tuple[int, str]:
        """Ends the command; its exit status and its stderr."""
        if number is not None:
            self.process.send_signal(number)
        status = self.process.wait(LIMIT_SECONDS)
        assert self.process.stderr
        with self.process.stderr as stderr:
            return status, stderr.read()


@contextmanager
def run_tail(gateway: Gateway, *arguments: str) -> Iterator[Tail]:
    """Tails exchanges from now on: the command is watching when this returns."""
    before = followers(gateway)
    tail = Tail(gateway, "tail", *arguments)
    try:
        eventually("the node is asked", lambda: followers(gateway) > before, 30)
        yield tail
    finally:
        if tail.process.poll() is None:
            tail.end(signal.SIGINT)


def followers(gateway: Gateway) -> int:
    """The number of observations that the engine serves."""
    return len(json.loads(gateway.admin("engine", "/recordings"))["recordings"])


def run_explain(gateway: Gateway, request_id: str) -> str:
    result = subprocess.run(
        command(gateway, "explain", request_id), capture_output=True, text=True, check=False, timeout=LIMIT_SECONDS
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def request_id_of(line: str) -> str:
    return line.split()[-1]


def normalize(text: str) -> str:
    """The text without what varies: times, ids, ports, the chain, the node, and the blanks that align them."""
    for pattern, word in (
        (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "ID"), (r"(?m)^([0-9]{4}-.{5}T)?[0-9:]{8}.[0-9]+", "TIME"),
        (r"[0-9.]+ m?s", "DURATION"), (r"chain [0-9a-f]{32}", "chain C"), (r"127.0.0.1:[0-9]+", "CLIENT"),
        (r"(?m)^(node|began) .*", r"\1"), (r"(?m)(request|response)( +[0-9.]+)+", r"\1"), (r"█|  +", " "),
    ):  # fmt: skip
        text = re.sub(pattern, word, text)
    return "\n".join(line.strip() for line in text.splitlines()).strip()
