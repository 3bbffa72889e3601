"""Processes that run a policy's code on exchanges: one after the other, a new one where the last has ended."""

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
from gatewright_cli.node import environment
from gatewright_cli.replaying.candidate import POLICY, Candidate
from gatewright_cli.replaying.inputs import Input

SCRIPT = Path(__file__).with_name("child.py")
GRACE_SECONDS = 5.0
"""For the process to end itself, before it is ended."""
START_SECONDS = 30.0
PIECE = 1 << 16


class ReplayedExecution(msgspec.Struct, frozen=True):
    """A turn of the policy. recorded: the outcome then; "" where there was none. skipped: why it was not run."""

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
    """What came of an exchange. error: why nothing, or no more, is known."""

    input: Input
    executions: list[ReplayedExecution] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    error: str = ""

    @property
    def differences(self) -> int:
        """How many there are."""
        return sum(len(one.differences) for one in self.executions)


@dataclass(frozen=True)
class Job:
    """A policy, and what each process is told. seconds: that one exchange may take, import_seconds: the import;
    grace_seconds: how long after these the process may take to end itself.
    """

    candidate: Candidate
    supplied: Mapping[str, object]
    seconds: float
    system_params: Mapping[str, object] = field(default_factory=dict)
    import_seconds: float = 60.0
    grace_seconds: float = GRACE_SECONDS

    def encoded(self, exchanges: list[JsonObject]) -> bytes:
        """What a process reads."""
        candidate = self.candidate
        policy = {"policy": str(candidate.folder / POLICY), "definition": candidate.definition}
        told = {"supplied": self.supplied, "systemParams": self.system_params, "seconds": self.seconds}
        return msgspec.json.encode({**policy, **told, "importSeconds": self.import_seconds, "exchanges": exchanges})


def replay(job: Job, inputs: list[tuple[Input, list[JsonObject]]]) -> Iterator[Replayed]:
    """Each exchange, with the parameters of its attachments. Raises PreflightError where the policy cannot be used."""
    waiting = {
        number: {"number": number, "name": one.name, "exchange": one.document, "params": params}
        for number, (one, params) in enumerate(inputs)
    }
    while waiting:
        before = len(waiting)
        for line in _Process(job, [*waiting.values()]).lines():
            assert line.number is not None
            del waiting[line.number]
            one = inputs[line.number][0]
            yield Replayed(one, line.executions or [], line.warnings, line.error)
        if len(waiting) == before:
            mistake = "expected its process to replay exchanges, but it ended before the first"
            raise PreflightError([f"{job.candidate.key}: {mistake}"])


class _Process:
    """One process, from its start to its end."""

    def __init__(self, job: Job, exchanges: list[JsonObject]) -> None:
        self._job, self._exchanges = job, exchanges
        self._began: int | None = None

    def lines(self) -> Iterator[_Line]:
        """One for each exchange that came to an end, or ended the process."""
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
                    if (told := self._told(line)) is not None:
                        yield told
            finally:
                process.kill()
        if self._began is not None:
            yield self._ended(process.returncode)

    def _limit(self) -> float:
        """How long it may say nothing: what is under way ends itself before."""
        if self._began is None:
            return max(self._job.seconds, self._job.import_seconds) + self._job.grace_seconds + START_SECONDS
        return self._job.seconds + self._job.grace_seconds

    def _told(self, line: _Line) -> _Line | None:
        if line.import_:
            raise PreflightError([f"{self._job.candidate.key}: cannot be imported: {line.import_}"])
        if line.hung is not None:
            return self._hung(line.hung)
        if line.executions is None:
            self._began = line.number
            return None
        self._began = None
        return line

    def _hung(self, place: _Place) -> _Line:
        where = f"; it is at {place.file}:{place.line}" if place.file else ""
        if self._began is None:
            text = f"cannot be imported: no end after {self._job.import_seconds:g} s{where}"
            raise PreflightError([f"{self._job.candidate.key}: {text}; if it has to take longer: --import-limit"])
        text = f"timeout: no end after {self._job.seconds:g} s{where}"
        number, self._began = self._began, None
        return _Line(number, error=text)

    def _ended(self, status: int) -> _Line:
        if status == -9:
            return self._hung(_Place())
        how = f"signal {-status}" if status < 0 else f"exit code {status}"
        return _Line(self._began, error=f"crashed: the policy ended its process, {how}")


def _write(process: subprocess.Popen[bytes], job: bytes) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError), process.stdin:  # its exit status says more
        process.stdin.write(job)


def _lines_of(process: subprocess.Popen[bytes], limit: Callable[[], float]) -> Iterator[bytes]:
    """Its lines of JSON. The process is killed where none comes for `limit()` seconds."""
    assert process.stdout is not None
    kept, ends = b"", time.monotonic() + limit()
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
        *lines, kept = (kept + piece).split(b"\n")
        yield from lines
        if lines:
            ends = time.monotonic() + limit()
