"""The private directory of a running node: its sockets, Envoy's bootstrap, status.json.

It is locked (flock(2)) until the run ends, however it ends: a directory without a lock is left of a killed run.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from gatewright_cli.node.files.folder_lock import lock_folder
from gatewright_cli.supervision import orphans

STATUS = "status.json"
PEERS = Path("peers") / "peers.json"
PREFIX = "gatewright-"
LONGEST_SOCKET_PATH = 107  # sun_path has 108 bytes, the last is NUL (unix(7))
LONGEST_NAME = ".executor-default-99.99999.sock"


def read_status(path: Path) -> dict[str, Any]:
    """The status.json of the node that runs in the directory `path`. Raises RunDirError if none runs there."""
    cure = "name its directory with --run-dir"
    try:
        status: dict[str, Any] = json.loads((path / STATUS).read_text())
        if not _is_locked(path):
            raise RunDirError(f"no node runs in {path} any more (it was killed, and left its {STATUS}): {cure}")
    except OSError as error:
        raise RunDirError(f"no node runs in {path} ({STATUS}: {error.strerror}): {cure}") from None
    return status


def live_runs() -> list[Path]:
    """The directories of this user's runs, except those of runs with --run-dir."""
    return [path for path in _own_runs(runs_home()) if _is_locked(path)]


def runs_home() -> Path:
    """The folder in which runs make their directories."""
    return Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())


class RunDirError(Exception):
    """The directory cannot be used. The message says which one, why, and the cure."""


class RunDir:
    """The directory of one run. Open it, use it, remove it."""

    def __init__(self, path: Path, made: bool) -> None:
        self.path = path
        self._made = made
        self._files: set[Path] = set()
        self._lock: int | None = None

    @classmethod
    def open(cls, requested: Path | None = None) -> RunDir:
        """`requested`, made if it does not exist; else a new one under XDG_RUNTIME_DIR or the temporary directory.

        There, it removes directories of killed runs, and kills processes that these left.
        """
        if requested is None:
            _remove_abandoned(runs_home())
            directory = cls(Path(tempfile.mkdtemp(prefix=PREFIX, dir=runs_home())), made=True)
        else:
            directory = cls(requested.absolute(), made=not requested.exists())
            directory.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            directory._check()
            directory._lock_folder()
            orphans.kill_left_by(directory.path, directory.peers)
        except RunDirError:
            directory.remove()
            raise
        return directory

    @property
    def peers(self) -> Path:
        """peers.json: in a folder of its own, which processes may read that must not read the run directory."""
        return self.path / PEERS

    def socket(self, name: str) -> Path:
        """The path of the socket `name`."""
        return self._track(f"{name}.sock")

    def file(self, name: str) -> Path:
        """The path of the file `name`, which another process writes."""
        return self._track(name)

    def remove_file(self, path: Path) -> None:
        """Removes a file that was written here, or a socket."""
        path.unlink(missing_ok=True)
        self._files.discard(path)

    def write(self, name: str, text: str) -> Path:
        """Writes a file atomically, 0600: a reader sees the whole old or the whole new file. It may be in a folder."""
        return self.write_bytes(name, text.encode())

    def write_bytes(self, name: str, content: bytes) -> Path:
        """As `write`, with bytes."""
        path = self._track(name)
        scratch = self._track(str(path.relative_to(self.path).with_name(f".{path.name}.new")))
        path.parent.mkdir(mode=0o700, exist_ok=True)
        with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(content)
        return scratch.replace(path)

    def write_status(self, status: object) -> None:
        """Writes status.json."""
        self.write_bytes(STATUS, msgspec.json.format(msgspec.json.encode(status), indent=2) + b"\n")

    def remove(self) -> None:
        """Removes the files that were written here, and the directory if this object made it."""
        for path in self._files:
            path.unlink(missing_ok=True)
        for folder in {path.parent for path in self._files} - {self.path}:
            with contextlib.suppress(OSError):  # it does not exist, or holds other files
                folder.rmdir()
        if self._made and self.path.exists() and not any(self.path.iterdir()):
            self.path.rmdir()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _track(self, name: str) -> Path:
        path = self.path / name
        self._files.add(path)
        return path

    def _lock_folder(self) -> None:
        self._lock = lock_folder(self.path)
        if self._lock is None:
            raise RunDirError(f"run directory {self.path}: another run uses it: choose another with --run-dir")

    def _check(self) -> None:
        status = self.path.stat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
            wrong = f"mode {stat.S_IMODE(status.st_mode):o}, owner {status.st_uid}"
            raise RunDirError(f"run directory {self.path}: expected mode 700 and owner {os.getuid()}, got {wrong}")
        length = len(os.fsencode(self.path / LONGEST_NAME))
        if length > LONGEST_SOCKET_PATH:
            raise RunDirError(
                f"run directory {self.path}: its sockets' paths would have {length} bytes, the system takes "
                f"{LONGEST_SOCKET_PATH}: choose a shorter one with --run-dir"
            )


def _own_runs(home: Path) -> Iterator[Path]:
    """Directories of this user's runs. A directory without a status is still being made."""
    for path in sorted(home.glob(f"{PREFIX}*/{STATUS}")):
        with contextlib.suppress(OSError):  # removed meanwhile
            if path.lstat().st_uid == path.parent.lstat().st_uid == os.getuid():
                yield path.parent


def _remove_abandoned(home: Path) -> None:
    for path in _own_runs(home):
        if (lock := lock_folder(path)) is not None:
            orphans.kill_left_by(path, path / PEERS)
            shutil.rmtree(path, ignore_errors=True)
            os.close(lock)


def _is_locked(path: Path) -> bool:
    if (lock := lock_folder(path)) is not None:
        os.close(lock)
    return lock is None
