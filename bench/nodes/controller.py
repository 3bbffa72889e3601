"""A controller under measurement: one process, started as the Helm chart does, with TLS for clients and for nodes."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench import cpu
from bench.certificate import certificate_in
from bench.error import BenchError
from bench.processes import HOST, environment, free_port, program, stop, tail
from bench.scale.node import Memory, resident

START_SECONDS = 120.0
ANSWER_SECONDS = 300.0
POLL_SECONDS = 0.01


@dataclass(frozen=True)
class Answer:
    """How long an answer of the management API took, and how many bytes it had."""

    seconds: float
    size: int


class Controller:
    """Start it; `close` it. It has a SQLite, which outlives its process."""

    def __init__(self, folder: Path, build: Path) -> None:
        self.folder, self._build = folder, build
        self.certificate = certificate_in(folder)
        self.token, self.node_token = folder / "token", folder / "node-token"
        for file in (self.token, self.node_token):
            file.write_text(secrets.token_hex(32))
            file.chmod(0o600)
        self._port, self.node_port = free_port(), free_port()
        self._log = folder / "controller.log"
        self._tls = ssl.create_default_context(cafile=str(self.certificate.chain))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"https://{HOST}:{self._port}"

    @property
    def node_address(self) -> str:
        """HOST:PORT where nodes join."""
        return f"{HOST}:{self.node_port}"

    def start(self) -> float:
        """Returns when it is healthy, in seconds since 1970. Raises BenchError."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment()
            )
        end = time.monotonic() + START_SECONDS
        while not self._is_healthy():
            if self._process.poll() is not None or time.monotonic() > end:
                raise BenchError(f"the controller did not start\n{tail(self._log)}")
            time.sleep(POLL_SECONDS)
        return time.time()

    def _command(self) -> list[str]:
        return [
            sys.executable, "-m", "gatewright_controller",
            "--listen", f"{HOST}:{self._port}", "--token-file", str(self.token),
            "--tls-certificate", str(self.certificate.chain), "--tls-key", str(self.certificate.key),
            "--node-listen", f"unix:{self.folder}/nodes.sock",
            "--node-tls-listen", self.node_address, "--node-token-file", str(self.node_token),
            "--definitions", str(self._build / "policy-definitions"),
            "--engine", str(self._build / "bin" / "policy-engine"),
            "--database", f"sqlite:{self.folder}/controller.db",
        ]  # fmt: skip

    def _is_healthy(self) -> bool:
        try:
            return self._connected().getresponse().status == http.client.OK
        except OSError:
            return False

    def _connected(self) -> http.client.HTTPSConnection:
        connection = http.client.HTTPSConnection(HOST, self._port, timeout=5, context=self._tls)
        connection.request("GET", "/healthz")
        return connection

    def kill(self) -> None:
        """With SIGKILL."""
        os.kill(self.pid, signal.SIGKILL)
        self._running.wait()

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            stop(self._process)

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise BenchError("expected the controller to run: start it")
        return self._process

    @property
    def pid(self) -> int:
        return self._running.pid

    def cpu_seconds(self) -> float:
        """Of the process, since its start."""
        return cpu.parse_process((cpu.PROC / str(self.pid) / "stat").read_text()).own

    def memory(self) -> Memory:
        return resident(self.pid)

    def ask(self, method: str, path: str, document: Mapping[str, object] | None = None) -> Answer:
        """On a connection of its own, whose handshake does not count. Raises BenchError for an error."""
        connection = http.client.HTTPSConnection(HOST, self._port, timeout=ANSWER_SECONDS, context=self._tls)
        headers = {"authorization": f"Bearer {self.token.read_text()}", "content-type": "application/json"}
        try:
            connection.connect()
            start = time.monotonic()
            connection.request(method, path, json.dumps(document) if document else None, headers)
            answer = connection.getresponse()
            text = answer.read()
            seconds = time.monotonic() - start
        finally:
            connection.close()
        if answer.status >= http.client.BAD_REQUEST:
            raise BenchError(f"{method} {path}: {answer.status} {text.decode()[:500]}")
        return Answer(seconds, len(text))

    def run(self, *arguments: str) -> float:
        """Seconds that `gatewright ARGUMENTS` takes against this controller. Raises BenchError where it fails."""
        command = [program("gatewright", "`make setup` installs it"), *arguments]
        command += ["--controller", self.url, "--controller-authority", str(self.certificate.chain)]
        variables = {**environment(), "GATEWRIGHT_CONTROLLER_TOKEN_FILE": str(self.token)}
        start = time.monotonic()
        done = subprocess.run(
            command, capture_output=True, text=True, env=variables, timeout=ANSWER_SECONDS, check=False
        )
        seconds = time.monotonic() - start
        if done.returncode:
            shown = "\n".join([*done.stderr.splitlines()[-5:], *done.stdout.splitlines()[-5:]])
            raise BenchError(f"expected `gatewright {' '.join(arguments)}` to succeed, got {done.returncode}\n{shown}")
        return seconds
