"""The processes that a measurement needs: each runs inside of a `with` block, and has ended after it."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bench import request
from bench.error import BenchError

HOST = "127.0.0.1"
TAIL_LINES = 15
START_SECONDS = 30.0
STOP_SECONDS = 30.0


def environment(tree: Path | None = None) -> dict[str, str]:
    """This process's variables, with the programs of its virtual environment, or of a work tree, first on PATH."""
    first = [str(tree / ".venv" / "bin"), str(tree / ".tools" / "go")] if tree else [str(Path(sys.executable).parent)]
    return os.environ | {"PATH": os.pathsep.join([*first, os.environ.get("PATH", "")])}


def program(name: str, cure: str, variables: Mapping[str, str] | None = None) -> str:
    """The path of a program."""
    path = shutil.which(name, path=(variables or environment())["PATH"])
    if path is None:
        raise BenchError(f"expected the program {name} on PATH, got none: {cure}")
    return path


@contextlib.contextmanager
def running(
    command: Sequence[str],
    log: Path,
    variables: Mapping[str, str] | None = None,
    folder: Path | None = None,
    scheduling: int | None = None,
) -> Iterator[subprocess.Popen[str]]:
    """Runs a process in `folder`, with its standard output in a pipe and its standard error in `log`. Stops it with
    SIGTERM, then SIGKILL. scheduling: a policy of sched(7); None for that of this process."""
    with log.open("w") as errors, _scheduling_policy(scheduling):
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            cwd=folder,
            env=environment() | dict(variables or {}),
            start_new_session=True,  # keeps Ctrl-C from the process, which is stopped in order
        )
    try:
        yield process
    finally:
        stop(process)


@contextlib.contextmanager
def _scheduling_policy(policy: int | None) -> Iterator[None]:
    """Processes started by this thread in the block inherit the scheduling policy."""
    before = os.sched_getscheduler(0)
    os.sched_setscheduler(0, before if policy is None else policy, os.sched_param(0))
    try:
        yield
    finally:
        os.sched_setscheduler(0, before, os.sched_param(0))


def stop(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.communicate(timeout=STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


def tail(log: Path) -> str:
    """The last lines of a log, for an error."""
    lines = log.read_text(errors="backslashreplace").splitlines()[-TAIL_LINES:]
    return "\n".join([f"the end of {log}:", *(f"  │ {line}" for line in lines)])


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def await_answer(
    port: int, path: str, process: subprocess.Popen[str], log: Path, seconds: float = START_SECONDS
) -> None:
    """Waits until a GET of the path is answered with 200."""
    deadline = time.monotonic() + seconds
    while (answer := _ask(port, path)) != "200":
        if process.poll() is not None or time.monotonic() > deadline:
            raise BenchError(f"expected 200 from http://{HOST}:{port}{path}, got {answer}\n{tail(log)}")
        time.sleep(0.05)


def await_file(file: Path, process: subprocess.Popen[str], log: Path) -> None:
    """Waits until the process has created the file, such as the socket that a server listens on."""
    deadline = time.monotonic() + START_SECONDS
    while not file.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise BenchError(f"expected {file.name} from {process.args!r}, got none\n{tail(log)}")
        time.sleep(0.05)


def _ask(port: int, path: str) -> str:
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", path, headers=request.HEADERS)
        answer = connection.getresponse()
        body = answer.read().decode(errors="backslashreplace")
        return str(answer.status) if answer.status == 200 else f"{answer.status}: {body[:300]}"
    except OSError as error:
        return str(error)
    finally:
        connection.close()
