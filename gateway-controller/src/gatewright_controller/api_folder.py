"""A folder of files is all that is published: what is saved in it is applied, what is deleted goes, and the management
API takes no writes of APIs."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from gatewright_documents.os_errors import os_reason
from gatewright_documents.yaml_documents import split_documents

from gatewright_controller.apis.api_source import ApiSource
from gatewright_controller.plans import DocumentStatus, FolderDocument, Plans
from gatewright_controller.store import API, Author, StorageError

log = logging.getLogger(__name__)
SUFFIXES = (".yaml", ".yml", ".json")
LOOK_SECONDS = 0.5
LEAST_REST = 20.0
"""Times the duration of a look, which takes long with thousands of files."""
Stamps = Mapping[str, tuple[int, int, int]]
"""By the name of a file its time, size and inode, which change when it is saved."""


class ApiFolder:
    """Keeps what a controller has at what the files of a folder say. Run it once the controller has loaded."""

    def __init__(self, folder: Path, plans: Plans, surroundings: Callable[[], object]) -> None:
        """surroundings: what else files are checked against now: definitions of policies, the Gateway, Secrets, the
        Defaults and Namespaces that there are. Other ones may fit a file that was refused."""
        self.folder, self._plans, self._surroundings = folder, plans, surroundings
        self.documents: Sequence[DocumentStatus] = ()
        """What has become of each, as of the last change."""
        self.trouble = ""
        """Why files are not followed, or nothing is deleted; "" where all is well."""
        self._seen: Stamps | None = None
        self._applied: tuple[Stamps, object] | None = None
        self._holders: Mapping[str, str] = {}

    async def run(self) -> None:
        """Until it is cancelled. A change is applied once two looks in a row have seen the same files, since they may
        be saved one after the other."""
        while True:
            began = time.monotonic()
            stamps = await asyncio.to_thread(self._stamps)
            if stamps is not None and stamps == self._seen and (stamps, self._surroundings()) != self._applied:
                await self._apply(stamps)
            self._seen = stamps
            await asyncio.sleep(max(LOOK_SECONDS, LEAST_REST * (time.monotonic() - began)))

    async def apply(self) -> None:
        """Applies the folder as it is now."""
        stamps = await asyncio.to_thread(self._stamps)
        if stamps is not None:
            await self._apply(stamps)

    def place_of(self, name: str, kind: str = API) -> str:
        """The file that an API, or what else is of this kind, is read from; "" where none is."""
        places = [document.place for document in self.documents if (document.kind, document.api) == (kind, name)]
        held = name if kind == API else f"{kind}/{name}"
        return self._holders.get(held) or next(iter(places), "")

    async def _apply(self, stamps: Stamps) -> None:
        surroundings = self._surroundings()
        try:
            documents = await asyncio.to_thread(self._read, stamps)
            applied = await self._plans.apply_folder(documents, self._holders, Author("file", str(self.folder)))
        except (OSError, StorageError) as error:
            reason = os_reason(error) if isinstance(error, OSError) else str(error)
            self._note_trouble(f"{self.folder} was not applied ({reason}); it is tried again")
            return
        self._applied, self._holders = (stamps, surroundings), applied.holders
        self._log(applied.documents)
        self.documents = applied.documents
        self._note_trouble("" if applied.deletes else self._why_nothing_goes())

    def _why_nothing_goes(self) -> str:
        if not self.documents:
            return f"{self.folder} has no API; what is served stays, since an empty folder may be one that is missing"
        return "nothing is deleted while a file has no name that can be read"

    def _note_trouble(self, trouble: str) -> None:
        if trouble and trouble != self.trouble:
            log.warning(trouble)
        self.trouble = trouble

    def _log(self, documents: Sequence[DocumentStatus]) -> None:
        """Each refusal once, and that it is over."""
        before = {(status.place, status.winner or status.reason) for status in self.documents}
        refused = {status.place for status in self.documents if status.state != "served"}
        for status in documents:
            if status.state != "served" and (status.place, status.winner or status.reason) not in before:
                log.error("API file not served", extra={"file": status.place, "reason": status.reason})
            elif status.state == "served" and status.place in refused:
                log.info("API file served", extra={"file": status.place, "api": status.api})

    def _stamps(self) -> Stamps | None:
        """None where the folder cannot be read."""
        try:
            if not self.folder.is_dir():
                stat = self.folder.stat()
                return {"": (stat.st_mtime_ns, stat.st_size, stat.st_ino)}
            files = sorted(file for file in self.folder.iterdir() if file.suffix in SUFFIXES)
            stats = {file.name: file.stat() for file in files}
        except OSError as error:
            self._note_trouble(f"{self.folder} cannot be read ({os_reason(error)}); what is served stays")
            return None
        return {name: (stat.st_mtime_ns, stat.st_size, stat.st_ino) for name, stat in stats.items()}

    def _read(self, stamps: Stamps) -> list[FolderDocument]:
        """Raises `OSError`."""
        return [document for name in stamps for document in _documents(self.folder / name if name else self.folder)]


def _documents(file: Path) -> list[FolderDocument]:
    content = file.read_bytes()
    parts = [(0, content)] if file.suffix == ".json" else split_documents(content)
    return [
        FolderDocument(
            f"{file.name}:{above + 1}" if len(parts) > 1 else file.name, ApiSource(file.name, part, line=above + 1)
        )
        for above, part in parts
    ]
