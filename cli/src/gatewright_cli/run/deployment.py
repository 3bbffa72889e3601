"""The APIs of a run: deploys those of its files, and follows all APIs that its controller has.

An API that cannot serve does not keep others from serving: the log and the status name it with its reason, and it is
checked again until it serves.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gatewright_documents.mistake import Mistake

from gatewright_cli.api_files import ApiFile, ApiFiles, RefusedFile, name_taken, refuse_duplicates, stamp
from gatewright_cli.clients.controller_refusals import DeployError, InvalidError, NoAnswerError, NoDatabaseError
from gatewright_cli.clients.management import DEPLOYED, PENDING, REJECTED, Management, StoredApi
from gatewright_cli.supervision.logs.output import LogOutput

START_WAIT_SECONDS = 10.0
"""How long a start waits for APIs that no node has answered for yet: as long as one `prepare` may take."""
SETTLED_SECONDS = 10.0
LEAST_REST = 50.0  # times the duration of a refresh, which takes long with thousands of APIs


@dataclass(frozen=True)
class Pauses:
    """Pauses between requests to the controller."""

    poll_seconds: float = 0.05
    """After no answer at a start."""
    unsettled_seconds: float = 1.0
    """While an API does not serve, or was pending."""


Reader = Callable[[Path], list[ApiFile | RefusedFile]]
Document = tuple[Path, int]
"""A document of a file: the file's path, and the number of lines above the document."""


class Deployment:
    """Start it, follow it. `on_change` is called whenever its report on the APIs may have changed.

    management: None without a controller; then it has no APIs. read: reads a file of `files` again, after it was saved.
    folder: the controller takes all APIs from there by itself; then nothing is deployed here.
    """

    def __init__(
        self,
        management: Management | None,
        files: ApiFiles,
        read: Reader,
        output: LogOutput,
        on_change: Callable[[], None] = lambda: None,
        folder: Path | None = None,
        pauses: Pauses = Pauses(),
    ) -> None:
        self._pauses = pauses
        self._management, self._files, self._read, self._output = management, files, read, output
        self._on_change, self._folder = on_change, folder
        self._file_of = {api.name: api.path for api in files.apis}
        self._stored: dict[str, StoredApi] = {}
        self._unsent: dict[Document, tuple[ApiFile, str]] = {}
        self._refused: dict[Document, RefusedFile] = {}
        self._not_serving: dict[str, str] = {}  # API → state, as it was last logged
        self._policies_changed = False
        self._database_trouble = ""
        self._newly_pending: set[str] = set()  # served at the refresh before the last one, pending at the last one

    # ------------------------------------------------------------ reports

    def report(self) -> list[dict[str, object]]:
        """For status.json: name, version, hosts, context, state, reason of each API that the controller has."""
        return [
            {
                "name": name,
                "version": api.version,
                "hosts": api.hosts,
                "context": api.context,
                "state": api.status.state,
                "reason": api.status.reason,
            }
            for name, api in sorted(self._stored.items())
        ]

    def refused_files(self) -> list[dict[str, object]]:
        """For status.json: files whose APIs the controller does not have, as file, api, state, mistakes."""
        files = [
            *((REJECTED, file.path, file.api, file.mistakes) for file in self._refused.values()),
            *((PENDING, api.path, api.name, (Mistake("", reason),)) for api, reason in self._unsent.values()),
        ]
        return [
            {"file": str(path), "api": api, "state": state, "mistakes": [_as_json(mistake) for mistake in mistakes]}
            for state, path, api, mistakes in files
        ]

    @property
    def database_trouble(self) -> str:
        """Why the controller cannot open its database, with the cure, by its last answer; "" if it can."""
        return self._database_trouble

    def serving(self) -> tuple[int, int]:
        """How many APIs are deployed, and how many there are."""
        named = {file.api or str(file.path) for file in self._refused.values()}
        named |= {api.name for api, _ in self._unsent.values()} | self._stored.keys()
        return sum(self.is_deployed(name) for name in named), len(named)

    def serving_words(self) -> str:
        """To append to a URL: how many APIs serve; "" if there is none."""
        if self._database_trouble:
            return " (its last good state)"
        serving, apis = self.serving()
        return f" ({serving} of {apis} APIs serve)" if apis else ""

    def is_deployed(self, name: str) -> bool:
        """Whether the API serves, by the controller's last answer."""
        return name in self._stored and self._stored[name].status.state == DEPLOYED

    def shortcomings(self) -> list[tuple[str, str]]:
        """(state, sentence) for each API and each file that is not deployed."""
        if self._database_trouble:
            return [("degraded", f"{self._database_trouble}; the node serves its last good state meanwhile")]
        apis = [
            (api.status.state, f"{name}: {' '.join(api.status.reason.split())}")
            for name, api in sorted(self._stored.items())
            if api.status.state != DEPLOYED
        ]
        refused = [(REJECTED, sentence) for file in self._refused.values() for sentence in file.sentences]
        return [*apis, *refused, *((PENDING, f"{api.path}: {why}") for api, why in self._unsent.values())]

    # ------------------------------------------------------------ start and changes

    async def start(self, end: float) -> None:
        """Writes the APIs of all files, and waits for pending ones until `end` (time.monotonic())."""
        await self.refresh()
        if self._folder is None:
            await self._write_files(dict(self._stored))
        while (left := end - time.monotonic()) > 0 and not (await self.refresh(left) or self._database_trouble):
            await asyncio.sleep(self._pauses.poll_seconds)

    async def _write_files(self, before: dict[str, StoredApi]) -> None:
        for file in self._files.refused:
            self._refuse(file)
        for api in self._files.apis:
            await self._write(api, before.get(api.name))
        self._warn_of_apis_without_file(before)

    async def log_undeployed(self) -> None:
        """Logs each API that is not deployed, after a last refresh."""
        await self.refresh()
        for name, api in self._stored.items():
            if api.status.state != DEPLOYED:
                self._log_not_serving(name, api)

    def require_all_deployed(self) -> None:
        """Raises DeployError unless everything is deployed."""
        if shortcomings := self.shortcomings():
            raise DeployError("\n".join(["not deployed:", *(f"  {state}: {text}" for state, text in shortcomings)]))

    async def follow(self) -> None:
        """Follows the APIs until it is cancelled: logs which APIs begin to serve, and which no longer do."""
        while True:
            began = time.monotonic()
            try:
                await self._try_again()
                if await self.refresh():
                    self._log_changes()
            except Exception as error:
                self._output.event(f"APIs could not be checked because of a fault in Gatewright: {error!r}", "error")
            rest = LEAST_REST * (time.monotonic() - began)
            settled = not (self.shortcomings() or self._newly_pending)
            await asyncio.sleep(max(SETTLED_SECONDS if settled else self._pauses.unsettled_seconds, rest))

    async def refresh(self, wait: float = 0.0) -> bool:
        """Asks the controller for the state of the APIs. Returns whether it answered.

        wait: how many seconds to wait for nodes that have not answered yet.
        """
        if self._management is None:
            return True
        try:
            apis = await self._management.apis(wait)
            refused = await self._refused_by_controller()
        except NoDatabaseError as error:
            self._note_database(str(error))
            return False
        except NoAnswerError:
            return False
        self._note_database("")
        if (apis, refused) != (self._stored, self._refused):
            self._stored, self._refused = apis, refused
            self._on_change()
        return True

    async def _refused_by_controller(self) -> dict[Document, RefusedFile]:
        """The documents of the controller's folder that it does not serve as they are. Raises `NoAnswerError`."""
        if self._folder is None or self._management is None:
            return self._refused
        files = await self._management.unserved_files()
        place = self._folder.parent if self._folder.is_file() else self._folder
        return {
            (self._folder, number): RefusedFile(place / file.file, (Mistake("", file.reason),), file.api)
            for number, file in enumerate(files)
        }

    def _note_database(self, trouble: str) -> None:
        if trouble != self._database_trouble:
            self._database_trouble = trouble
            self._on_change()

    async def _try_again(self) -> None:
        """Writes unanswered APIs again, and reads refused files again: those that were saved, or all after a reload."""
        if self._database_trouble and not await self.refresh():
            return
        if self._folder:
            return
        for api, _ in list(self._unsent.values()):
            await self._write(api, self._stored.get(api.name))
        files = self._refused.values()
        again = {file.path for file in files if self._policies_changed or stamp(file.path) != file.stamp}
        self._policies_changed = False
        for path in sorted(again):
            await self._read_again(path)

    def policies_changed(self) -> None:
        """Call it after a reload: it may have brought policies that a refused file asks for."""
        self._policies_changed = True

    async def _read_again(self, path: Path) -> None:
        self._refused = {key: file for key, file in self._refused.items() if file.path != path}
        if not path.exists():
            self._output.event("a refused API file was removed", file=str(path))
            self._on_change()
            return
        files = refuse_duplicates(self._read(path))
        for refused in files.refused:
            self._refuse(refused)
        for api in files.apis:
            await self._deploy_again(api)

    async def _deploy_again(self, file: ApiFile) -> None:
        if (first := self._file_of.setdefault(file.name, file.path)) != file.path:
            self._refuse(name_taken(file, first))
            return
        before = self._stored.get(file.name)
        if await self._write(file, before) and self._stored[file.name] != before:
            self._output.event("API file accepted", file=str(file.path), api=file.name)

    async def _write(self, api: ApiFile, before: StoredApi | None) -> bool:
        """Writes the API. Returns whether the controller has it now."""
        assert self._management is not None, "without a controller there are no files to deploy"
        self._unsent.pop((api.path, api.above), None)
        try:
            after = await self._management.write(api)
        except InvalidError as error:
            self._refuse(RefusedFile(api.path, error.mistakes, api.name, api.stamp, api.above))
            return False
        except NoAnswerError as error:
            self._unsent[api.path, api.above] = api, str(error)
            self._on_change()
            return False
        self._stored[api.name] = after
        self._on_change()
        if before is not None and not after.same_as(before):
            self._output.event(
                "a file overwrites what the controller had of its API", "warning", api=api.name, file=str(api.path)
            )
        return True

    def _refuse(self, file: RefusedFile) -> None:
        self._refused[file.path, file.above] = file
        self._on_change()
        for sentence in file.sentences:
            self._output.event("API file refused; it is tried again when it is saved", "error", reason=sentence)

    # ------------------------------------------------------------ the log

    def _warn_of_apis_without_file(self, before: dict[str, StoredApi]) -> None:
        """Warns of APIs that no file has. Skips it if a file's API name is unknown: it may be one of them."""
        if not (self._files.apis or self._files.refused) or any(not file.api for file in self._files.refused):
            return
        named = {api.name for api in self._files.apis} | {file.api for file in self._files.refused}
        if without_file := sorted(before.keys() - named):
            self._output.event(
                "APIs are published that no file has; delete those that are not wanted: DELETE /v1/apis/NAME",
                "warning",
                apis=without_file,
            )

    def _log_changes(self) -> None:
        """Logs changes of state. Logs pending only when it lasts, since each change makes an API pending briefly."""
        newly_pending, self._newly_pending = self._newly_pending, set()
        for name, api in self._stored.items():
            state = api.status.state
            if state == DEPLOYED:
                if self._not_serving.pop(name, None):
                    self._output.event("API deployed", api=name)
            elif state != self._not_serving.get(name):
                if state == PENDING and name not in newly_pending:
                    self._newly_pending.add(name)
                else:
                    self._log_not_serving(name, api)
        for name in self._not_serving.keys() - self._stored.keys():
            del self._not_serving[name]

    def _log_not_serving(self, name: str, api: StoredApi) -> None:
        self._not_serving[name] = api.status.state
        self._output.event("API is not deployed", "warning", api=name, state=api.status.state, reason=api.status.reason)


def _as_json(mistake: Mistake) -> dict[str, object]:
    return {"message": mistake.message, "field": mistake.field, "line": mistake.line}
