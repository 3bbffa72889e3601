"""A real controller, in a process of its own."""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

LIMIT_SECONDS = 60.0
TOKEN = "only-for-these-tests"  # noqa: S105


class Controller:
    """Runs until `end`. definitions: of policies, by the names of their files. certificate: its file and its key's."""

    def __init__(
        self,
        folder: Path,
        definitions: Mapping[str, str] | None = None,
        certificate: tuple[Path, Path] | None = None,
    ) -> None:
        self.folder, self.socket, self.token = folder, folder / "n.sock", folder / "token"
        (folder / "definitions").mkdir()
        for name, text in (definitions or {}).items():
            (folder / "definitions" / name).write_text(text)
        self.token.write_text(TOKEN)
        arguments = [
            "--listen", "127.0.0.1:0", "--node-listen", f"unix:{self.socket}", "--token-file", str(self.token),
            "--definitions", f"{folder}/definitions", "--database", f"sqlite:{folder}/c.db",
        ]  # fmt: skip
        if certificate:
            arguments += ["--tls-certificate", str(certificate[0]), "--tls-key", str(certificate[1])]
        command = [sys.executable, "-m", "gatewright_controller", *arguments]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self._ready: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.url = f"{'https' if certificate else 'http'}://{self._ready.get(timeout=LIMIT_SECONDS)}"

    def _read(self) -> None:
        assert self.process.stderr
        with self.process.stderr as lines:
            for record in map(json.loads, lines):
                if record["message"] == "ready":
                    self._ready.put(record["listen"])

    def observed_nodes(self) -> set[str]:
        """The nodes that have opened Observe."""
        headers = {"authorization": f"Bearer {TOKEN}", "accept": "application/x-ndjson"}
        with httpx.stream("GET", f"{self.url}/v1/exchanges", params={"id": "-"}, headers=headers) as answer:
            first = json.loads(next(answer.iter_lines()))
        return {node["id"] for node in first["nodes"]}

    def end(self, number: int = signal.SIGTERM) -> None:
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.wait(LIMIT_SECONDS)
        self._reader.join(LIMIT_SECONDS)


@contextmanager
def controlling(
    folder: Path, definitions: Mapping[str, str] | None = None, certificate: tuple[Path, Path] | None = None
) -> Iterator[Controller]:
    controller = Controller(folder, definitions, certificate)
    try:
        yield controller
    finally:
        controller.end()
