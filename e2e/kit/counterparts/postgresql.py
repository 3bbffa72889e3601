"""A PostgreSQL of this machine, with a database of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from e2e.kit.gateway import eventually
from e2e.kit.listening import free_port
from e2e.kit.places import ROOT

TOOL = ROOT / "tools" / "postgresql.py"
USER, PASSWORD, DATABASE = "gateway", "s3cret-of-the-database", "postgres"
NOBODY = 65534
"""The user of the server, which refuses to run as root."""


class Server:
    """A server that can be stopped and started again, and keeps its data."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self.port = free_port()
        self._programs, self._folder = programs, folder
        self._identity = {"user": NOBODY, "group": NOBODY} if os.geteuid() == 0 else {}
        if self._identity:
            os.chown(folder, NOBODY, NOBODY)
        secret = folder / "password"
        secret.write_text(PASSWORD)
        self._run(
            "initdb", "-D", str(folder / "data"), "-U", USER, "--pwfile", str(secret), "-A", "scram-sha-256", "-N"
        )
        self.start()

    def start(self) -> None:
        """Starts the server and returns when it answers."""
        options = ("-p", str(self.port), "-c", "listen_addresses=127.0.0.1", "-k", str(self._folder), "-F")
        command = [str(self._programs / "postgres"), "-D", str(self._folder / "data"), *options]
        log = (self._folder / "log").open("ab")
        self._process = subprocess.Popen(command, stdout=log, stderr=log, **self._identity)  # type: ignore[call-overload]
        log.close()
        eventually("PostgreSQL answers", self._answers, 60)

    def _answers(self) -> bool:
        assert self._process.poll() is None, (self._folder / "log").read_text()
        return "ready to accept connections" in (self._folder / "log").read_text()

    def stop(self) -> None:
        """Stops the server, and closes all its connections, at once."""
        self._process.send_signal(signal.SIGINT)  # fast: without waiting for connected clients
        self._process.wait(30)
        (self._folder / "log").write_bytes(b"")  # of the next start

    def _run(self, program: str, *arguments: str) -> None:
        command: Sequence[str] = [str(self._programs / program), *arguments]
        subprocess.run(command, check=True, capture_output=True, timeout=120, **self._identity)  # type: ignore[call-overload]


@contextmanager
def server() -> Iterator[Server]:
    """Runs a server in a folder that its user can reach, unlike a test's own."""
    result = subprocess.run([sys.executable, str(TOOL)], capture_output=True, text=True, check=True)
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    started = Server(Path(result.stdout.strip()), folder)
    try:
        yield started
    finally:
        started.stop()
        shutil.rmtree(folder)
