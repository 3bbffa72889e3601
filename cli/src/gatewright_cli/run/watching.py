"""`gatewright run --watch`: reloads when build.yaml, a file of one of its policies or gateway.yaml has changed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from pathlib import Path

from gatewright_builder.manifest import read_manifest
from gatewright_builder.mistake import BuildError
from watchfiles import Change, DefaultFilter, awatch
from watchfiles.main import FileChange

from gatewright_cli.run.reloading import ReloadError, Reloads
from gatewright_cli.supervision.logs.output import LogOutput

DEBOUNCE_MS = 400
STEP_MS = 50
MISSING_SECONDS = 1.0


class SourceWatcher:
    """Reloads on each change until it is cancelled. It begins with a reload, since a file may have been saved before
    the watch was set up. A file saved during a reload starts another one, which supersedes it.
    """

    def __init__(self, manifest: Path, reloads: Reloads, output: LogOutput, gateway: Path | None = None) -> None:
        self._manifest, self._reloads, self._output = manifest.resolve(), reloads, output
        self._gateway = gateway and gateway.resolve()
        self._folders: list[Path] = []
        self._changed = asyncio.Event()
        self._other_folders = asyncio.Event()

    async def run(self) -> None:
        """Watches until it is cancelled."""
        self._folders = policy_folders(self._manifest) or []
        watching = [asyncio.create_task(self._watch_manifest()), asyncio.create_task(self._watch_folders())]
        if self._gateway:
            watching.append(asyncio.create_task(self._watch_gateway(self._gateway)))
        self._output.event("watching", manifest=str(self._manifest), folders=len(self._folders))
        try:
            async with asyncio.TaskGroup() as reloading:
                while True:
                    await self._changed.wait()
                    self._changed.clear()
                    reloading.create_task(self._reload())
        finally:
            for task in watching:
                task.cancel()
            await asyncio.wait(watching)

    async def _reload(self) -> None:
        with contextlib.suppress(ReloadError):  # the reload logs it
            await self._reloads.reload()

    async def _watch_manifest(self) -> None:
        async for _ in file_events(self._manifest):
            folders = policy_folders(self._manifest) or self._folders
            if folders != self._folders:
                self._folders = folders
                self._other_folders.set()
            self._changed.set()

    async def _watch_gateway(self, file: Path) -> None:
        async for _ in file_events(file):
            self._changed.set()

    async def _watch_folders(self) -> None:
        """Restarts the watch whenever build.yaml may name other folders, or a missing folder has appeared."""
        while True:
            self._other_folders.clear()
            present = [folder for folder in self._folders if folder.is_dir()]
            missing = asyncio.create_task(self._wait_for_missing(set(self._folders) - set(present)))
            try:
                await self._watch(present)
            finally:
                missing.cancel()
                await asyncio.wait({missing})

    async def _watch(self, folders: list[Path]) -> None:
        if not folders:
            await self._other_folders.wait()
            return
        with contextlib.suppress(FileNotFoundError):  # a folder was removed at this moment
            watched = awatch(*folders, stop_event=self._other_folders, debounce=DEBOUNCE_MS, step=STEP_MS)
            async for _ in change_events(watched):
                self._changed.set()

    async def _wait_for_missing(self, missing: set[Path]) -> None:
        """Waits for folders that build.yaml names and that do not exist yet."""
        while missing:
            await asyncio.sleep(MISSING_SECONDS)
            if any(folder.is_dir() for folder in missing):
                self._other_folders.set()
                self._changed.set()
                return


def file_events(file: Path) -> AsyncGenerator[None]:
    """`change_events` of one file. Watches its folder, since editors replace the file."""
    own = OneFileFilter(file)
    return change_events(awatch(file.parent, watch_filter=own, recursive=False, debounce=DEBOUNCE_MS, step=STEP_MS))


async def change_events(changes: AsyncGenerator[set[FileChange]]) -> AsyncGenerator[None]:
    """Yields once when the watch is set up, then for each batch of changes."""
    following = asyncio.create_task(anext(changes, None))
    try:
        await asyncio.sleep(0)  # the first step of awatch sets up the watch
        yield
        while await following is not None:
            yield
            following = asyncio.create_task(anext(changes, None))
    finally:
        following.cancel()
        await asyncio.wait({following})


class OneFileFilter(DefaultFilter):
    """Lets changes of one file through."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = str(path)

    def __call__(self, change: Change, path: str) -> bool:
        return path == self._path and change is not Change.deleted


def policy_folders(manifest: Path) -> list[Path] | None:
    """The local folders that build.yaml names; None while it cannot be read."""
    try:
        entries = read_manifest(manifest).entries
    except BuildError:
        return None
    return sorted({(manifest.parent / entry.local).resolve() for entry in entries if entry.local})
