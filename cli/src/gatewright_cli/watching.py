"""`gatewright run --watch`: reloads when build.yaml or a file of one of its policies has changed."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from gatewright_builder.manifest import read_manifest
from gatewright_builder.mistake import BuildError
from watchfiles import Change, DefaultFilter, awatch

from gatewright_cli.log_output import LogOutput
from gatewright_cli.reloading import ReloadError, Reloads

DEBOUNCE_MS = 400
STEP_MS = 50
MISSING_SECONDS = 1.0


class Watch:
    """Watches until it is cancelled. A change during a reload brings another one after it."""

    def __init__(self, manifest: Path, reloads: Reloads, output: LogOutput) -> None:
        self._manifest, self._reloads, self._output = manifest.resolve(), reloads, output
        self._folders: list[Path] = []
        self._changed = asyncio.Event()
        self._other_folders = asyncio.Event()

    async def run(self) -> None:
        self._folders = policy_folders(self._manifest) or []
        watching = asyncio.create_task(self._watch_manifest()), asyncio.create_task(self._watch_folders())
        self._output.event("watching", manifest=str(self._manifest), folders=len(self._folders))
        try:
            while True:
                await self._changed.wait()
                self._changed.clear()
                with contextlib.suppress(ReloadError):  # it is logged
                    await self._reloads.reload()
        finally:
            for task in watching:
                task.cancel()
            await asyncio.wait(watching)

    async def _watch_manifest(self) -> None:
        """Its folder, for editors put a new file in the old one's place."""
        folder, own = self._manifest.parent, Only(self._manifest)
        async for _ in awatch(folder, watch_filter=own, recursive=False, debounce=DEBOUNCE_MS, step=STEP_MS):
            self._folders = policy_folders(self._manifest) or self._folders
            self._other_folders.set()
            self._changed.set()

    async def _watch_folders(self) -> None:
        """Begins anew whenever build.yaml may name others, or one that it names has come."""
        while True:
            self._other_folders.clear()
            there = [folder for folder in self._folders if folder.is_dir()]
            missing = asyncio.create_task(self._notice(set(self._folders) - set(there)))
            try:
                await self._watch(there)
            finally:
                missing.cancel()
                await asyncio.wait({missing})

    async def _watch(self, folders: list[Path]) -> None:
        if not folders:
            await self._other_folders.wait()
            return
        with contextlib.suppress(FileNotFoundError):  # one went at this moment
            async for _ in awatch(*folders, stop_event=self._other_folders, debounce=DEBOUNCE_MS, step=STEP_MS):
                self._changed.set()

    async def _notice(self, missing: set[Path]) -> None:
        """Waits for folders that are named and not there yet."""
        while missing:
            await asyncio.sleep(MISSING_SECONDS)
            if any(folder.is_dir() for folder in missing):
                self._other_folders.set()
                self._changed.set()
                return


class Only(DefaultFilter):
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
