"""A PostgreSQL of this machine that tests start, with data of its own in a temporary folder; and a standby of it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from postgresql import programs

USER, PASSWORD, DATABASE = "gateway", "s3cret-of-the-database", "postgres"
STANDBY = "standby"
"""The name of a standby, for its primary's `synchronous_standby_names`."""
LOOPBACK = "127.0.0.1"
NOBODY = 65534
"""The user of the server, which refuses to run as root."""
SECONDS = 120
"""The longest that one of its programs may take."""


class Server:
    """A server that can be stopped and started again, and keeps its data.

    port: where it listens at `address`, too; None: at its Unix socket alone. primary: whose standby it is.
    """

    def __init__(
        self, programs: Path, folder: Path, port: int | None, primary: Server | None = None, address: str = LOOPBACK
    ) -> None:
        self.folder, self.runs, self.address = folder, False, address
        self._port, self._programs = port, programs
        self._identity = {"user": NOBODY, "group": NOBODY} if os.geteuid() == 0 else {}
        if self._identity:
            os.chown(folder, NOBODY, NOBODY)
        data = str(folder / "data")
        if primary is not None:
            self._run(
                "pg_basebackup", "-D", data, "-d", f"{primary.url}&application_name={STANDBY}", "-R", "-c", "fast"
            )
        else:
            secret = folder / "password"
            secret.write_text(PASSWORD)
            self._run("initdb", "-D", data, "-U", USER, "--pwfile", str(secret), "-A", "scram-sha-256", "-N")
            if address != LOOPBACK:
                with (folder / "data" / "pg_hba.conf").open("a") as rules:
                    rules.write("host all all samenet scram-sha-256\n")
        self.start()

    @property
    def port(self) -> int:
        """Of the listener."""
        assert self._port is not None, "a server with a port was asked for"
        return self._port

    @property
    def url(self) -> str:
        """The database, at the Unix socket, with its password."""
        return f"postgresql:///{DATABASE}?host={self.folder}&port={self._port or 5432}&user={USER}&password={PASSWORD}"

    def start(self) -> None:
        """Starts the server and returns when it answers."""
        address = self.address if self._port else ""
        options = f"-p {self._port or 5432} -c listen_addresses={address} -k {self.folder} -F"
        options += " -c wal_retrieve_retry_interval=100ms"  # a standby looks for its primary after 5 s otherwise
        self._control("start", "-l", str(self.folder / "log"), "-o", options)
        self.runs = True

    def stop(self) -> None:
        """Stops the server, and closes all its connections, at once."""
        self._control("stop", "-m", "fast")  # without waiting for connected clients
        self.runs = False

    def kill(self) -> None:
        """Ends the server by SIGKILL; what it has acknowledged is in its files. Returns once all its processes are
        gone."""
        postmaster = self._postmaster()
        processes = [postmaster, *_children(postmaster)]
        for pid in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        end = time.monotonic() + SECONDS
        while any(map(_is_alive, processes)):
            if time.monotonic() > end:
                raise RuntimeError(f"the processes {processes} are still there")
            time.sleep(0.01)
        self.runs = False

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """All its processes are stopped (SIGSTOP) meanwhile: connections stay open, the kernel accepts new ones, and
        none gets an answer."""
        postmaster = self._postmaster()
        stopped = [postmaster]
        os.kill(postmaster, signal.SIGSTOP)  # first: it starts no others
        for child in _children(postmaster):
            os.kill(child, signal.SIGSTOP)
            stopped.append(child)
        try:
            yield
        finally:
            for pid in reversed(stopped):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def promote(self) -> None:
        """Makes a standby the primary; returns when it can be written to."""
        self._control("promote")

    def _postmaster(self) -> int:
        return int((self.folder / "data" / "postmaster.pid").read_text().split()[0])

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
def server(port: int | None = None, primary: Server | None = None, address: str = LOOPBACK) -> Iterator[Server]:
    """Runs a server in a folder that its user can reach, unlike a test's own. primary: whose standby it is. address: of
    its listener; at another one than loopback it takes clients of that network."""
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    started = Server(programs(), folder, port, primary, address)
    try:
        yield started
    finally:
        if started.runs:
            started.stop()
        shutil.rmtree(folder)


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _is_alive(pid: int) -> bool:
    """Not one that has ended and is not waited for yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
