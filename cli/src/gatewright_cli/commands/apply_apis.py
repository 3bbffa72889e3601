"""`gatewright apply`: files' APIs to a controller that runs, and what becomes of them there."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from gatewright_cli.commands.controller_address import controller_address
from gatewright_cli.commands.options import NamedController
from gatewright_cli.mistakes import PreflightError
from gatewright_cli.node import api_files, ports
from gatewright_cli.node.api_files import ApiFile, ApiFileError, ApiFiles, RefusedFile
from gatewright_cli.node.management import DEPLOYED, PENDING, InvalidError, Management, NoAnswerError, StoredApi

STDIN = Path("-")
LOOK_SECONDS = 2.0
OPENAPI = re.compile(rb"^\s*\{?\s*[\"']?(openapi|swagger)[\"']?\s*:", re.MULTILINE)

Say = Callable[[str], None]
T = TypeVar("T")


@dataclass(frozen=True)
class Target:
    """A controller to talk to, and where its run has put the echo, if it has one. place: for people. run_dir: of its
    run, where it is on this machine.
    """

    management: Management
    echo_port: int | None = None
    place: str = ""
    run_dir: Path | None = None

    def reached_by(self, api: ApiFile) -> ApiFile:
        """The API, with the echo as its upstream where that is."""
        if self.echo_port is None:
            return api
        return api_files.move_upstreams(api, ports.ECHO_NAMES, ports.ECHO_PORT, self.echo_port)


def target(run_dir: Path | None, controller: NamedController | None) -> Target:
    """As `controller_address`. Raises PreflightError."""
    address = controller_address(run_dir, controller)
    management = Management(address.url, address.token, address.tls)
    return Target(management, address.echo_port, address.place, address.run_dir)


def load(places: Iterable[Path], stdin: Callable[[], bytes]) -> ApiFiles:
    """The APIs in all of these files and folders; `-` stands for standard input. Raises PreflightError."""
    found: list[ApiFile | RefusedFile] = []
    mistakes: list[str] = []
    for place in places:
        try:
            if place == STDIN:
                found += api_files.documents(Path("stdin"), stdin())
            else:
                files = _files_in(place)
                _refuse_openapi(files)
                found += [api for file in files for api in api_files.read(file)]
        except ApiFileError as error:
            mistakes += error.mistakes
    if mistakes:
        raise PreflightError(mistakes)
    return api_files.refuse_duplicates(found)


def _refuse_openapi(files: Iterable[Path]) -> None:
    """Raises ApiFileError with the command that makes an API of an OpenAPI document."""
    mistakes = []
    for file in files:
        with contextlib.suppress(OSError):  # which is said when it is read
            if OPENAPI.search(text := file.read_bytes()) and b"apiVersion" not in text:
                mistakes.append(
                    f"{file}: expected an Api, got an OpenAPI document; `gatewright import {file}` makes one"
                )
    if mistakes:
        raise ApiFileError(mistakes)


def _files_in(place: Path) -> list[Path]:
    """At least one: a command that is given none has nothing to do. Raises ApiFileError."""
    if not (files := api_files.files_in(place)):
        raise ApiFileError([f"{place}: expected at least one .yaml or .json file, got none"])
    return files


async def applied(to: Target, files: ApiFiles, seconds: float | None, say: Say, report_error: Say) -> bool:
    """Creates or replaces the APIs. Whether all of them are taken, and deployed within so many seconds.

    seconds: None not to wait. say: called with what has become of each. report_error: called with what is wrong,
    with file and line.
    """
    return await report_no_answer(_apply(to, files, seconds, say, report_error), report_error)


async def report_no_answer(work: Awaitable[bool], report_error: Say) -> bool:
    """What the work answers; False where the controller gives no answer, which is reported."""
    try:
        return await work
    except NoAnswerError as error:
        report_error(f"error: {error}")
        return False


async def _apply(to: Target, files: ApiFiles, seconds: float | None, say: Say, report_error: Say) -> bool:
    before = await to.management.apis()
    report_refused(files, report_error)
    done = {api.name: verb for api in files.apis if (verb := await _written(to, api, before, report_error))}
    complete = len(done) == len(files.apis) and not files.refused
    return await say_what_became(to, done, seconds, say) and complete


async def say_what_became(to: Target, done: Mapping[str, str], seconds: float | None, say: Say) -> bool:
    """Says of each API what was done with it, and what the nodes make of it within so many seconds. Whether all are
    deployed; True where there is no time to wait.
    """
    if seconds is None:
        for name, verb in done.items():
            say(f"{name} {verb}")
        return True
    after = await _until_nodes_answer(to.management, set(done), time.monotonic() + seconds)
    for name, verb in done.items():
        say(f"{name} {verb}, {_became(after.get(name))}")
    return all(name in after and after[name].status.state == DEPLOYED for name in done)


async def tried(to: Target, files: ApiFiles, say: Say, report_error: Say) -> bool:
    """What `applied` would do, each API as if it were the only one; nothing is done. Whether all would be taken.

    say: called with each API's verb, and with what would change in it.
    """
    report_refused(files, report_error)
    complete = not files.refused
    try:
        for api in files.apis:
            change = await _asked(to, api, to.management.try_write, report_error)
            complete = complete and change is not None
            if change:
                say(f"{api.name} would be {change.kind}")
                for moved in change.moved:
                    say(f"  {moved}")
                if change.diff:
                    say(change.diff.removesuffix("\n"))
    except NoAnswerError as error:
        report_error(f"error: {error}")
        return False
    return complete


async def _written(to: Target, api: ApiFile, before: Mapping[str, StoredApi], report_error: Say) -> str | None:
    """What was done; None where the controller refuses it."""
    after = await _asked(to, api, to.management.write, report_error)
    return verb_of(before.get(api.name), after) if after else None


async def _asked(to: Target, api: ApiFile, ask: Callable[[ApiFile], Awaitable[T]], report_error: Say) -> T | None:
    """What the controller answers; None where it refuses the API."""
    api = to.reached_by(api)
    try:
        return await ask(api)
    except InvalidError as error:
        _report_mistakes(RefusedFile(api.path, error.mistakes), report_error)
        return None


def verb_of(before: StoredApi | None, after: StoredApi) -> str:
    """What was done with an API."""
    if before is None:
        return "created"
    return "unchanged" if before.status.revision == after.status.revision else "changed"


def _became(api: StoredApi | None) -> str:
    if api is None:
        return "deleted meanwhile"
    reason = " ".join(api.status.reason.split())
    return f"{api.status.state}: {reason}" if reason else api.status.state


async def _until_nodes_answer(management: Management, names: set[str], end: float) -> dict[str, StoredApi]:
    """All APIs, once the nodes have said of these what they make of them, or the time is up."""
    while True:
        wait = max(0.0, min(LOOK_SECONDS, end - time.monotonic()))
        began = time.monotonic()
        found = await management.apis(wait)
        pending = [name for name in names if name in found and found[name].status.state == PENDING]
        nodes_have_answered = time.monotonic() - began < wait
        if not pending or nodes_have_answered or time.monotonic() >= end:
            return found


def report_refused(files: ApiFiles, report_error: Say) -> None:
    """Says what is wrong with the files that hold no API."""
    for file in files.refused:
        _report_mistakes(file, report_error)


def _report_mistakes(file: RefusedFile, report_error: Say) -> None:
    for said in file.sentences:
        report_error(said)
