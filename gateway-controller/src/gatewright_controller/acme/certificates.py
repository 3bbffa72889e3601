"""Keeps certificates: obtains what a Gateway asks for, renews it in time, tries again what has failed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import msgspec
from gatewright_documents.values import JsonObject
from msgspec.structs import asdict, replace

from gatewright_controller.acme.schedule import Record, Wanted, obtained
from gatewright_controller.local.acme_folder import certificate_file, read_json, record_file, write_json
from gatewright_controller.model import Gateway
from gatewright_controller.nodes.deployment import Deployment

log = logging.getLogger(__name__)
CHILD_SECONDS = 180.0
LONGEST_SLEEP_SECONDS = 600.0
"""So that a clock that was set is noticed."""
LISTENING_SECONDS = 60.0
SETTLING_SECONDS = 1.0
"""Routes follow listeners."""
LONGEST_LOOK_SECONDS = 24 * 3600.0

ChildAnswer = dict[str, Any]


class Asks(Protocol):
    """Asks an authority: "obtain" or "look". Answers as the process `obtaining` does."""

    async def __call__(self, task: str, folder: Path, wanted: Wanted) -> ChildAnswer: ...


@dataclass(frozen=True)
class AcmeTimes:
    """How long it is until something is done again."""

    fault_seconds: float = 60.0
    """After a fault of the controller's own."""
    least_look_seconds: float = 3600.0
    """Until an authority is asked again when to renew, whatever it says of that."""


def wanted_by(gateway: Gateway) -> dict[str, Wanted]:
    """The certificates that a Gateway asks for, by name."""
    found = ((name, Wanted.of(name, certificate)) for name, certificate in sorted(gateway.spec.certificates.items()))
    return {name: wanted for name, wanted in found if wanted is not None}


class AcmeCertificates:
    """One for each controller. listening: returns once nodes listen as the Gateway says, or it took too long: before
    that no challenge can be answered. Give it what is wanted, and run it.
    """

    def __init__(
        self,
        folder: Path,
        listening: Callable[[], Awaitable[object]],
        ask: Asks | None = None,
        times: AcmeTimes = AcmeTimes(),
    ) -> None:
        self._folder, self._listening, self._ask, self._times = folder, listening, ask or ask_in_child, times
        self._wanted: dict[str, Wanted] = {}
        self._records: dict[str, Record] = {}
        self._changed = asyncio.Event()
        self._listens = False

    @property
    def folder(self) -> Path:
        """Of all that is obtained."""
        return self._folder

    def want(self, gateway: Gateway | None) -> None:
        """What the Gateway asks for, from now on."""
        self._wanted = wanted_by(gateway) if gateway else {}
        self._records = {name: self._read(name) for name in self._wanted}
        self._listens = False
        self._changed.set()

    async def prepare(self, wanted: Mapping[str, Wanted]) -> None:
        """Writes placeholders, so that listeners are whole before there are certificates."""
        await write_missing_placeholders(self._folder, wanted)

    def status(self) -> dict[str, JsonObject]:
        """For each certificate: hosts, obtained, notAfter and next (RFC 3339, "" for none), failures, error."""
        return {name: _status(wanted, self._records[name]) for name, wanted in self._wanted.items()}

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            try:
                await self._step()
            except Exception as error:
                log.exception("certificates are not kept, for a while", extra={"reason": repr(error)})
                await self._sleep(self._times.fault_seconds)

    async def _step(self) -> None:
        self._changed.clear()
        if self._wanted and not self._listens:
            await self.prepare(self._wanted)
            await self._listening()
            self._listens = True
        name, task, at = self._next()
        if (left := at - time.time()) > 0:
            await self._sleep(min(left, LONGEST_SLEEP_SECONDS))
        elif not self._changed.is_set():
            await self._turn(self._wanted[name], task)

    def _next(self) -> tuple[str, str, float]:
        """What is to be done next, and when."""
        turns = [(name, "obtain", self._records[name].due(wanted)) for name, wanted in self._wanted.items()]
        turns += [
            (name, "look", record.look)
            for name, record in self._records.items()
            if record.look and record.subject == self._wanted[name].subject and not record.failures
        ]
        return min(turns, key=lambda turn: turn[2], default=("", "", time.time() + LONGEST_SLEEP_SECONDS))

    async def _sleep(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):  # wait_for loses a cancellation that comes with the event
                await self._changed.wait()

    async def _turn(self, wanted: Wanted, task: str) -> None:
        answer = await self._ask(task, self._folder, wanted)
        if self._wanted.get(wanted.name) != wanted:
            if "error" not in answer and task == "obtain":  # another one is wanted by now; what was obtained is known
                write_json(
                    record_file(self._folder, wanted.name),
                    asdict(self._obtained_record(wanted, answer)),
                )
            return
        before = self._records[wanted.name]
        if task == "look":
            record = self._schedule_renewal_check(before, answer)
        elif "error" in answer:
            chance = random.random()  # noqa: S311 - when, and nothing secret
            record = before.failed(wanted, time.time(), answer["kind"], answer["error"], answer["wait"], chance)
        else:
            record = self._obtained_record(wanted, answer)
        _log(wanted, task, record)
        file = record_file(self._folder, wanted.name)
        try:
            await asyncio.to_thread(write_json, file, asdict(record))
        finally:  # a full disk is no reason to obtain it anew
            if self._wanted.get(wanted.name) == wanted:
                self._records[wanted.name] = record

    def _obtained_record(self, wanted: Wanted, answer: ChildAnswer) -> Record:
        chance = random.random()  # noqa: S311 - when, and nothing secret
        return obtained(wanted, answer["begins"], answer["ends"], answer["renew"], self._look(answer["look"]), chance)

    def _schedule_renewal_check(self, before: Record, answer: ChildAnswer) -> Record:
        """The record with the time of renewal that the authority suggests. Without an answer the known time stays, and
        the authority is asked again later."""
        if "error" in answer:
            return replace(before, look=time.time() + self._times.least_look_seconds)
        return before.suggested(answer["renew"], self._look(answer["look"]), random.random())  # noqa: S311

    def _look(self, at: float) -> float:
        now = time.time()
        return min(max(at, now + self._times.least_look_seconds), now + LONGEST_LOOK_SECONDS)

    def _read(self, name: str) -> Record:
        """Nothing is known of a certificate whose file is gone."""
        with contextlib.suppress(msgspec.ValidationError):
            if certificate_file(self._folder, name).exists():
                return msgspec.convert(read_json(record_file(self._folder, name)), Record)
        return Record()


def _log(wanted: Wanted, task: str, record: Record) -> None:
    fields = {"certificate": wanted.name, "hosts": list(wanted.hosts)}
    if task == "look":
        log.debug("certificate checked", extra={**fields, "renewal": _time(record.renew)})
    elif record.failures:
        failed = {"reason": record.error, "failures": record.failures, "again": _time(record.retry)}
        log.error("certificate cannot be obtained; the served one stays in use", extra={**fields, **failed})
    else:
        times = {"notAfter": _time(record.ends), "renewal": _time(record.renew)}
        log.info("certificate obtained", extra={**fields, **times})


def _status(wanted: Wanted, record: Record) -> JsonObject:
    mine = record.failed_subject == wanted.subject
    return {
        "hosts": list(wanted.hosts),
        "obtained": record.subject == wanted.subject,
        "notAfter": _time(record.ends),
        "next": _time(max(record.due(wanted), time.time())),
        "failures": record.failures if mine else 0,
        "error": record.error if mine else "",
    }


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z") if seconds else ""


async def write_missing_placeholders(folder: Path, wanted: Mapping[str, Wanted]) -> None:
    """Writes a placeholder for each wanted certificate that has no file."""
    missing = {
        name: certificate.hosts for name, certificate in wanted.items() if not certificate_file(folder, name).exists()
    }
    if missing:
        asked = {"folder": str(folder), "hosts": missing}
        await _child("gatewright_controller.acme.placeholder", json.dumps(asked).encode())


async def listening(deployment: Deployment) -> None:
    """Until nodes listen as the Gateway says, or say why not, or nothing for a minute."""
    await deployment.wait_until_gateway_converged(LISTENING_SECONDS)
    await asyncio.sleep(SETTLING_SECONDS)


async def ask_in_child(task: str, folder: Path, wanted: Wanted, seconds: float = CHILD_SECONDS) -> ChildAnswer:
    """In a process of its own, which has so many seconds: what speaks ACME takes 40 MB, and blocks."""
    asked = {"task": task, "folder": str(folder), "wanted": asdict(wanted)}
    try:
        async with asyncio.timeout(seconds):
            answer: ChildAnswer = json.loads(
                await _child("gatewright_controller.acme.obtaining", json.dumps(asked).encode())
            )
    except (TimeoutError, OSError, ValueError) as error:
        return {"error": f"the process that obtains it has failed: {error!r}", "kind": "unreachable", "wait": 0.0}
    return answer


async def _child(module: str, asked: bytes) -> bytes:
    """What it says. Raises OSError with what it complained of. -P: what lies in the working directory is no module."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", module, stdin=pipe, stdout=pipe, stderr=pipe
    )
    try:
        output, complaint = await process.communicate(asked)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise OSError(complaint.decode(errors="replace")[-500:])
    return output
