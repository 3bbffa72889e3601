"""A PostgreSQL of this machine that tests start, with data of its own in a temporary folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from postgresql import programs

USER, PASSWORD, DATABASE = "gateway", "s3cret-of-the-database", "postgres"
NOBODY = 65534
"""The user of the server, which refuses to run as root."""
SECONDS = 120
"""The longest that one of its programs may take."""


class Server:
    """A server that can be stopped and started again, and keeps its data.

    port: where it listens on 127.0.0.1, too; None: at its Unix socket alone.
    """

    def __init__(self, programs: Path, folder: Path, port: int | None) -> None:
        self.folder = folder
        self._port, self._programs = port, programs
        self._identity = {"user": NOBODY, "group": NOBODY} if os.geteuid() == 0 else {}
        if self._identity:
            os.chown(folder, NOBODY, NOBODY)
        secret = folder / "password"
        secret.write_text(PASSWORD)
        self._run(
            "initdb", "-D", str(folder / "data"), "-U", USER, "--pwfile", str(secret), "-A", "scram-sha-256", "-N"
        )
        self.start()

    @property
    def port(self) -> int:
        """Of the listener on 127.0.0.1."""
        assert self._port is not None, "a server with a port was asked for"
        return self._port

    @property
    def url(self) -> str:
        """The database, at the Unix socket, with its password."""
        return f"postgresql:///{DATABASE}?host={self.folder}&port={self._port or 5432}&user={USER}&password={PASSWORD}"

    def start(self) -> None:
        """Starts the server and returns when it answers."""
        options = f"-p {self._port or 5432} -c listen_addresses={'127.0.0.1' if self._port else ''} -k {self.folder} -F"
        self._control("start", "-l", str(self.folder / "log"), "-o", options)

    def stop(self) -> None:
        """Stops the server, and closes all its connections, at once."""
        self._control("stop", "-m", "fast")  # without waiting for connected clients

    def _control(self, *arguments: str) -> None:
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-w", "-s", *arguments)

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), *arguments]
        with (self.folder / "output").open("ab") as output:  # no pipe: a server that it starts would keep it open
            result = subprocess.run(  # type: ignore[call-overload]
                command, stdout=output, stderr=output, check=False, timeout=SECONDS, cwd=self.folder, **self._identity
            )
        if result.returncode != 0:
            raise RuntimeError(f"{program} failed: {(self.folder / 'output').read_text()}")


@contextmanager
def server(port: int | None = None) -> Iterator[Server]:
    """Runs a server in a folder that its user can reach, unlike a test's own."""
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    started = Server(programs(), folder, port)
    try:
        yield started
    finally:
        started.stop()
        shutil.rmtree(folder)
