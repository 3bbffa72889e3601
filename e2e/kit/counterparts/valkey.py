"""A Valkey, or a Redis, of this machine: the store of several nodes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from e2e.kit.certificates import authority
from e2e.kit.gateway import eventually
from e2e.kit.listening import free_port
from e2e.kit.places import ROOT

TOOL = ROOT / "tools" / "valkey.py"


class Server:
    """A server that can be killed, paused and started again, which loses its data unless `keeps`.

    `address` is in clear, `tls_address` speaks TLS; `authority` has signed its certificate.
    """

    def __init__(self, program: str, folder: Path, keeps: bool = False) -> None:
        self.port, tls_port = free_port(), free_port()
        self.address, self.tls_address = f"127.0.0.1:{self.port}", f"127.0.0.1:{tls_port}"
        signer = authority(folder, "valkey-authority")
        self.authority, (chain, key) = signer.file, signer.issue("valkey", "127.0.0.1")
        self._command = [
            program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "",
            "--appendonly", "yes" if keeps else "no", "--appendfsync", "always",
            "--tls-port", str(tls_port), "--tls-auth-clients", "no",
            "--tls-cert-file", str(chain), "--tls-key-file", str(key),
        ]  # fmt: skip
        self._folder = folder
        self.start()

    def start(self) -> None:
        """Starts the server and returns when it answers."""
        self._process = subprocess.Popen(self._command, cwd=self._folder, stdout=subprocess.DEVNULL)
        eventually("Valkey answers", lambda: self.ask("PING") == b"+PONG\r\n", 30)

    def kill(self) -> None:
        """Kills the server."""
        self._process.kill()
        self._process.wait()

    @contextmanager
    def away(self) -> Iterator[None]:
        """Kills the server for the length of the block."""
        self.kill()
        try:
            yield
        finally:
            self.start()

    def hang(self) -> None:
        """Stops the process (SIGSTOP): it keeps its connections and answers nothing until it is killed or continues."""
        self._process.send_signal(signal.SIGSTOP)

    def ask(self, command: str) -> bytes:
        """The answer to one inline command, up to 64 KiB; empty if the server is away."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), 10) as connection:
                connection.sendall(f"{command}\r\n".encode())
                return connection.recv(65_536)
        except OSError:
            return b""


@contextmanager
def server(folder: Path, keeps: bool = False) -> Iterator[Server]:
    """Runs a server. keeps: it has its data again after a restart. Skips the test if the machine has none, unless
    VALKEY_REQUIRED is set."""
    result = subprocess.run([sys.executable, str(TOOL)], capture_output=True, text=True, check=False)
    program = result.stdout.strip()
    if not program:
        if os.environ.get("VALKEY_REQUIRED", "") not in {"", "0"}:
            pytest.fail(result.stderr)
        pytest.skip(result.stderr)
    started = Server(program, folder, keeps)
    try:
        yield started
    finally:
        started.kill()


@contextmanager
def running(folder: Path) -> Iterator[dict[str, str]]:
    """VALKEY: its address, HOST:PORT."""
    with server(folder) as started:
        yield {"VALKEY": started.address}
