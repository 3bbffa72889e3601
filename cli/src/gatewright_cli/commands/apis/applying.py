"""What the commands that write files to a controller share: the files, the controller, and what becomes of APIs."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from gatewright_cli import api_files
from gatewright_cli.api_files import ApiFile, ApiFileError, ApiFiles, RefusedFile
from gatewright_cli.clients.controller_refusals import NoAnswerError
from gatewright_cli.clients.management import DEPLOYED, PENDING, Management, StoredApi
from gatewright_cli.commands.controller_address import controller_address
from gatewright_cli.commands.options import NamedController
from gatewright_cli.mistakes import ExitStatus, PreflightError, refuse
from gatewright_cli.node.listeners import ports

STDIN = Path("-")
LOOK_SECONDS = 2.0
IMPORTED = re.compile(rb"^\s*\{?\s*[\"']?(openapi|swagger|_format_version)[\"']?\s*:", re.MULTILINE)

Say = Callable[[str], None]


@dataclass(frozen=True)
class Target:
    """A controller to talk to. echo_port: that of the run's echo upstream, if it has one. place: the controller's
    address, for people. run_dir: of its run, if that is on this machine.
    """

    management: Management
    echo_port: int | None = None
    place: str = ""
    run_dir: Path | None = None

    def with_echo(self, api: ApiFile) -> ApiFile:
        """The API, with upstreams at the echo's default port moved to the port of this run's echo."""
        if self.echo_port is None:
            return api
        return api_files.move_upstreams(api, ports.ECHO_NAMES, ports.ECHO_PORT, self.echo_port)


def find_target(
    run_dir: Path | None, controller: NamedController | None, terms: Mapping[str, str] | None = None
) -> Target:
    """The controller that `controller_address` finds. terms: of writes. Raises PreflightError."""
    address = controller_address(run_dir, controller)
    management = Management(address.url, address.token, address.tls, terms)
    return Target(management, address.echo_port, address.place, address.run_dir)


def load(places: Iterable[Path], stdin: Callable[[], bytes]) -> ApiFiles:
    """The APIs in all of these files and folders; `-` stands for standard input. Raises PreflightError."""
    documents: list[ApiFile | RefusedFile] = []
    mistakes: list[str] = []
    for place in places:
        try:
            if place == STDIN:
                documents += api_files.documents(Path("stdin"), stdin())
            else:
                files = _files_in(place)
                _refuse_importable(files)
                documents += [api for file in files for api in api_files.read(file)]
        except ApiFileError as error:
            mistakes += error.mistakes
    if mistakes:
        raise PreflightError(mistakes)
    return api_files.refuse_duplicates(documents)


def load_unread(places: Iterable[Path], stdin: Callable[[], bytes]) -> list[ApiFile]:
    """The documents in all of these files and folders, which the controller reads. As `load`."""
    documents: list[ApiFile] = []
    mistakes: list[str] = []
    for place in places:
        try:
            if place == STDIN:
                documents += api_files.unread_documents(Path("stdin"), stdin())
                continue
            files = _files_in(place)
            _refuse_importable(files)
            documents += [document for file in files for document in _unread(file)]
        except ApiFileError as error:
            mistakes += error.mistakes
    refuse(mistakes)
    return documents


def _unread(file: Path) -> list[ApiFile]:
    """Raises ApiFileError."""
    try:
        return api_files.unread_documents(file, file.read_bytes())
    except OSError as error:
        raise ApiFileError([f"{file}: {error.strerror}"]) from error


def _refuse_importable(files: Iterable[Path]) -> None:
    """Raises ApiFileError with the command that makes an API of an OpenAPI document or a decK file."""
    mistakes = []
    for file in files:
        with contextlib.suppress(OSError):  # reading the file reports it
            text = file.read_bytes()
            if b"apiVersion" not in text and (found := IMPORTED.search(text)):
                kind = "a decK file" if found[1] == b"_format_version" else "an OpenAPI document"
                mistakes.append(f"{file}: expected an Api, got {kind}; `gatewright import {file}` makes one")
    if mistakes:
        raise ApiFileError(mistakes)


def _files_in(place: Path) -> list[Path]:
    """The file, or the files of a folder: at least one, or the command has nothing to do. Raises ApiFileError."""
    if not (files := api_files.files_in(place)):
        raise ApiFileError([f"{place}: expected at least one .yaml or .json file, got none"])
    return files


async def report_no_answer(work: Awaitable[ExitStatus], report_error: Say) -> ExitStatus:
    """The result of the work; if the controller gives no answer, that is reported."""
    try:
        return await work
    except NoAnswerError as error:
        report_error(f"error: {error}")
        return error.status


async def report_outcomes(target: Target, verbs: Mapping[str, str], seconds: float | None, say: Say) -> ExitStatus:
    """Reports what was done with each API (verbs by name), and its state on the nodes after at most so many seconds.
    DONE if all are deployed, or if seconds is None.
    """
    if seconds is None:
        for name, verb in verbs.items():
            say(f"{name} {verb}")
        return ExitStatus.DONE
    after = await _wait_for_nodes(target.management, set(verbs), time.monotonic() + seconds)
    for name, verb in verbs.items():
        say(f"{name} {verb}, {_outcome(after.get(name))}")
    all_deployed = all(name in after and after[name].status.state == DEPLOYED for name in verbs)
    return ExitStatus.DONE if all_deployed else ExitStatus.NOT_DEPLOYED


def verb_of(before: StoredApi | None, after: StoredApi) -> str:
    """created, changed or unchanged."""
    if before is None:
        return "created"
    return "unchanged" if before.status.revision == after.status.revision else "changed"


def _outcome(api: StoredApi | None) -> str:
    if api is None:
        return "deleted meanwhile"
    reason = " ".join(api.status.reason.split())
    return f"{api.status.state}: {reason}" if reason else api.status.state


async def _wait_for_nodes(management: Management, names: set[str], end: float) -> dict[str, StoredApi]:
    """All APIs, once none of these names is pending, the nodes have answered, or the time is up."""
    while True:
        wait = max(0.0, min(LOOK_SECONDS, end - time.monotonic()))
        began = time.monotonic()
        apis = await management.apis(wait)
        pending = [name for name in names if name in apis and apis[name].status.state == PENDING]
        nodes_have_answered = time.monotonic() - began < wait
        if not pending or nodes_have_answered or time.monotonic() >= end:
            return apis


def report_refused(files: ApiFiles, report_error: Say) -> None:
    """Reports the mistakes of files that hold no API."""
    for file in files.refused:
        _report_mistakes(file, report_error)


def _report_mistakes(file: RefusedFile, report_error: Say) -> None:
    for sentence in file.sentences:
        report_error(sentence)
