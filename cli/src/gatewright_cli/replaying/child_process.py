"""Runs a policy's code on exchanges in child processes, one after the other: a new one when the last has ended."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from gatewright_documents.values import JsonObject

from gatewright_cli.exchanges.recorded import Change, Failure
from gatewright_cli.mistakes import PreflightError
from gatewright_cli.node.specs import environment
from gatewright_cli.replaying.candidate import POLICY, Candidate
from gatewright_cli.replaying.inputs import Input

SCRIPT = Path(__file__).with_name("child.py")
GRACE_SECONDS = 5.0
"""How long after a limit the process may take to end itself, before it is killed."""
START_SECONDS = 30.0
PIECE = 1 << 16


class ReplayedExecution(msgspec.Struct, frozen=True):
    """One execution of the policy. recorded: the recorded outcome; None for none. skipped: why it was not run."""

    index: int = -1
    phase: str = ""
    outcome: str = ""
    recorded: str | None = None
    failure: Failure | None = None
    changes: list[Change] = []
    differences: list[Change] = []
    skipped: str = ""


class _Place(msgspec.Struct, frozen=True):
    file: str = ""
    line: int = 0


class _Line(msgspec.Struct, frozen=True):
    number: int | None = None
    executions: list[ReplayedExecution] | None = None
    warnings: list[str] = []
    error: str = ""
    hung: _Place | None = None
    import_: str = msgspec.field(default="", name="import")


@dataclass(frozen=True)
class Replayed:
    """The result of replaying an exchange. error: why the result is missing or incomplete."""

    input: Input
    executions: list[ReplayedExecution] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    error: str = ""

    @property
    def differences(self) -> int:
        """The number of differences."""
        return sum(len(execution.differences) for execution in self.executions)


@dataclass(frozen=True)
class Job:
    """A policy, and the parameters of each process. seconds: the limit of one exchange, import_seconds: of the import;
    grace_seconds: how long after these the process may take to end itself.
    """

    candidate: Candidate
    supplied: Mapping[str, object]
    seconds: float
    system_params: Mapping[str, object] = field(default_factory=dict)
    import_seconds: float = 60.0
    grace_seconds: float = GRACE_SECONDS

    def encoded(self, exchanges: list[JsonObject]) -> bytes:
        """The job as the process reads it."""
        candidate = self.candidate
        policy = {"policy": str(candidate.folder / POLICY), "definition": candidate.definition}
        options = {"supplied": self.supplied, "systemParams": self.system_params, "seconds": self.seconds}
        return msgspec.json.encode({**policy, **options, "importSeconds": self.import_seconds, "exchanges": exchanges})


def replay(job: Job, inputs: list[tuple[Input, list[JsonObject]]]) -> Iterator[Replayed]:
    """Replays each exchange with the parameters of its attachments. Raises PreflightError for an unusable policy."""
    waiting = {
        number: {"number": number, "name": item.name, "exchange": item.document, "params": params}
        for number, (item, params) in enumerate(inputs)
    }
    while waiting:
        before = len(waiting)
        for line in _Process(job, [*waiting.values()]).lines():
            assert line.number is not None
            del waiting[line.number]
            yield Replayed(inputs[line.number][0], line.executions or [], line.warnings, line.error)
        if len(waiting) == before:
            mistake = "expected its process to replay exchanges, but it ended before the first"
            raise PreflightError([f"{job.candidate.key}: {mistake}"])


class _Process:
    """One process, from its start to its end."""

    def __init__(self, job: Job, exchanges: list[JsonObject]) -> None:
        self._job, self._exchanges = job, exchanges
        self._began: int | None = None

    def lines(self) -> Iterator[_Line]:
        """One line for each exchange that ended, or that ended the process."""
        candidate = self._job.candidate
        command = [str(candidate.python), "-I", "-B", str(SCRIPT), str(os.getpid()), str(candidate.sdk)]
        inherits = environment.executor(())
        own = {name: value for name, value in os.environ.items() if inherits.has(name)}
        sys.stdout.flush()
        with subprocess.Popen(command, env=own, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            try:
                _write(process, self._job.encoded(self._exchanges))
                for text in _lines_of(process, self._limit):
                    line = msgspec.json.decode(text, type=_Line)
                    if (result := self._handle(line)) is not None:
                        yield result
            finally:
                process.kill()
        if self._began is not None:
            yield self._crash_line(process.returncode)

    def _limit(self) -> float:
        """How long the process may write nothing: its own limits end it before."""
        if self._began is None:
            return max(self._job.seconds, self._job.import_seconds) + self._job.grace_seconds + START_SECONDS
        return self._job.seconds + self._job.grace_seconds

    def _handle(self, line: _Line) -> _Line | None:
        """The line that ends an exchange; None for one that begins it. Raises PreflightError for a failed import."""
        if line.import_:
            raise PreflightError([f"{self._job.candidate.key}: cannot be imported: {line.import_}"])
        if line.hung is not None:
            return self._hung_line(line.hung)
        if line.executions is None:
            self._began = line.number
            return None
        self._began = None
        return line

    def _hung_line(self, place: _Place) -> _Line:
        where = f"; it is at {place.file}:{place.line}" if place.file else ""
        if self._began is None:
            text = f"cannot be imported: no end after {self._job.import_seconds:g} s{where}"
            raise PreflightError([f"{self._job.candidate.key}: {text}; if it has to take longer: --import-limit"])
        text = f"timeout: no end after {self._job.seconds:g} s{where}"
        number, self._began = self._began, None
        return _Line(number, error=text)

    def _crash_line(self, status: int) -> _Line:
        if status == -9:
            return self._hung_line(_Place())
        how = f"signal {-status}" if status < 0 else f"exit code {status}"
        return _Line(self._began, error=f"crashed: the policy ended its process, {how}")


def _write(process: subprocess.Popen[bytes], job: bytes) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError), process.stdin:  # the exit status has the reason
        process.stdin.write(job)


def _lines_of(process: subprocess.Popen[bytes], limit: Callable[[], float]) -> Iterator[bytes]:
    """The process's lines of JSON. It is killed if none arrives for `limit()` seconds."""
    assert process.stdout is not None
    rest, ends = b"", time.monotonic() + limit()
    while True:
        ready, _, _ = select.select([process.stdout], [], [], max(0.0, ends - time.monotonic()))
        if not ready:
            process.kill()
            process.wait()
            return
        piece = os.read(process.stdout.fileno(), PIECE)
        if not piece:
            process.wait()
            return
        *lines, rest = (rest + piece).split(b"\n")
        yield from lines
        if lines:
            ends = time.monotonic() + limit()
