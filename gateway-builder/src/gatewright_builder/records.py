"""What this user's builds have made, by content: so that nothing passes for it that was changed since.

Kept apart from caches and outputs, which others may bring along or write to: a cache that a CI restores, an output that
executors run from. What is not on record is made anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from gatewright_builder.tree import text_digest

ITSELF = "."
PATH = re.compile(rb'\{"path":("(?:[^"\\]|\\.)*")')


class FileRecord(msgspec.Struct, frozen=True, array_like=True):
    """One file or link. digest: SHA-256, in hex, of what is in it (of a link, its target) and whether it may be run.

    size: bytes. inode and changed: of the file system, the latter in ns; no program sets them (stat(2), st_ctim), so a
    file that has them as before need not be read.
    """

    digest: str
    size: int
    inode: int
    changed: int


Contents = Mapping[str, FileRecord]
"""By path below a folder, POSIX; a file's own is ITSELF."""


class _Record(msgspec.Struct, frozen=True):
    path: str
    files: dict[str, FileRecord]


@dataclass(frozen=True, slots=True)
class Records:
    """root: a file for each folder that is on record, named by a digest of its path."""

    root: Path

    def read(self, path: Path) -> Contents | None:
        """What a folder or file held when it was kept; None where it never was."""
        try:
            record = msgspec.json.decode(self._file(path).read_bytes(), type=_Record)
        except (OSError, msgspec.DecodeError):
            return None
        return record.files

    def keep(self, path: Path, contents: Contents) -> None:
        """Puts it on record. Where that cannot be written, the next build makes it anew."""
        with contextlib.suppress(OSError):
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._forget_what_is_gone()
        self._write(path, contents)

    def _write(self, path: Path, contents: Contents) -> None:
        with contextlib.suppress(OSError):
            content = msgspec.json.encode(_Record(str(path.resolve()), dict(contents)))
            with tempfile.NamedTemporaryFile(dir=self.root, prefix=".", delete=False) as aside:
                aside.write(content)
            Path(aside.name).replace(self._file(path))

    def differences(self, path: Path) -> list[str] | None:
        """The paths, sorted, of what is not as it was kept; None where nothing is known of it."""
        known = self.read(path)
        if known is None:
            return None
        found = contents_of(path, known)
        different = sorted(name for name in known.keys() | found.keys() if not _same(known.get(name), found.get(name)))
        if not different and found != known:  # so that they need not be read the next time
            self._write(path, found)
        return different

    def _file(self, path: Path) -> Path:
        return self.root / f"{text_digest(str(path.resolve()))}.json"

    def _forget_what_is_gone(self) -> None:
        for file in self.root.glob("*.json"):
            with file.open("rb") as opened:
                begin = opened.read(1 << 14)
            found = PATH.match(begin)
            if found and not os.path.lexists(msgspec.json.decode(found[1], type=str)):
                file.unlink(missing_ok=True)


def user_records() -> Records:
    """$GATEWRIGHT_RECORDS_DIR, else $XDG_STATE_HOME/gatewright/builds, else ~/.local/state/gatewright/builds."""
    own = os.environ.get("GATEWRIGHT_RECORDS_DIR")
    above = os.environ.get("XDG_STATE_HOME")
    return Records(
        Path(own) if own else (Path(above) if above else Path.home() / ".local" / "state") / "gatewright" / "builds"
    )


def contents_of(path: Path, known: Contents | None = None) -> dict[str, FileRecord]:
    """All files and links of a folder, or the one file. Those that `known` has with the same inode, size and time of
    change are not read.
    """
    known = known or {}
    return {name: _file_record(entry, known.get(name)) for name, entry in _entries(path)}


def same_content(contents: Contents, other: Contents) -> bool:
    """Whether both hold the same, wherever and since whenever."""
    return {name: file.digest for name, file in contents.items()} == {name: file.digest for name, file in other.items()}


def _same(record: FileRecord | None, other: FileRecord | None) -> bool:
    return record is not None and other is not None and record.digest == other.digest


def _entries(path: Path) -> Iterator[tuple[str, str]]:
    """Names and paths."""
    if path.is_file():
        yield ITSELF, str(path)
        return
    for parent, folders, files in os.walk(path):
        base = os.path.relpath(parent, path)
        links = [name for name in folders if os.path.islink(os.path.join(parent, name))]  # noqa: PTH114, PTH118
        for name in (*files, *links):
            yield (name if base == ITSELF else f"{base}/{name}"), f"{parent}/{name}"


def _file_record(path: str, known: FileRecord | None) -> FileRecord:
    status = os.lstat(path)
    size, inode, changed = status.st_size, status.st_ino, status.st_ctime_ns
    if known and (known.size, known.inode, known.changed) == (size, inode, changed):
        return known
    return FileRecord(_digest(path, status.st_mode), size, inode, changed)


def _digest(path: str, mode: int) -> str:
    if stat.S_ISLNK(mode):
        return text_digest("link", os.readlink(path))  # noqa: PTH115
    if not stat.S_ISREG(mode):
        return text_digest("neither file nor link")
    with open(path, "rb") as file:  # noqa: PTH123 - thousands of them
        content = hashlib.file_digest(file, "sha256").hexdigest()
    return f"{content}+x" if mode & stat.S_IXUSR else content
