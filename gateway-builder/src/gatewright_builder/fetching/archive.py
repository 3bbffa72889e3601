"""A repository's tarball, from which one folder is read, and nothing believed.

Nothing is extracted: members are read into memory and named by their checked paths, so no path, link or device of
an archive ever meets the file system.
"""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import BinaryIO

from gatewright_builder.tree import Tree

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """packed: bytes of the archive. unpacked: of all that is in it. files: members. folder: bytes of the one folder."""

    packed: int = 64 * MIB
    unpacked: int = 256 * MIB
    files: int = 20_000
    folder: int = 32 * MIB


LIMITS = Limits()
ENDS = 64
"""How often tarfile may meet the end of an archive; once or twice does for a whole one."""
LONGEST_PATH = 1_024  # characters
BROKEN = (OSError, EOFError, zlib.error, tarfile.TarError, ValueError, OverflowError, RecursionError)
"""What reading something else may raise; the last, where headers announce headers without end."""


@dataclass(frozen=True, slots=True)
class Archive:
    """What was wanted of an archive: the folder's files, and the commit it was made of ("" if it does not say)."""

    tree: Tree
    commit: str


class ArchiveError(Exception):
    """It is not what a repository's tarball should be: `expected`, `got`."""

    def __init__(self, expected: str, got: str) -> None:
        super().__init__(f"expected {expected}, got {got}")
        self.expected, self.got = expected, got


def read_archive(file: BinaryIO, folder: str, limits: Limits = LIMITS) -> Archive:
    """The files of `folder`, a relative path below the archive's one top folder. Raises ArchiveError."""
    try:
        with gzip.GzipFile(fileobj=file) as unpacked:
            counted = _Counted(unpacked, limits.unpacked)
            with tarfile.open(fileobj=counted, mode="r|", encoding="utf-8", errors="strict") as archive:
                tree = _read(archive, PurePosixPath(folder), limits)
                return Archive(tree, archive.pax_headers.get("comment", ""))
    except BROKEN as error:
        raise ArchiveError("a whole gzipped tar archive", str(error) or type(error).__name__) from error


class _Counted(io.RawIOBase):
    """Stops a bomb while it goes off, in headers too: what tarfile reads is counted, whatever it reads it for."""

    def __init__(self, source: gzip.GzipFile, limit: int) -> None:
        self._source, self._limit, self._left, self._ends = source, limit, limit, ENDS

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        piece = self._source.read(min(size, MIB) if size >= 0 else MIB)
        self._left -= len(piece)
        self._ends -= not piece
        if self._ends < 0:  # tarfile skips what a header announces, in small steps, whether it is there or not
            raise ArchiveError("a whole gzipped tar archive", "its end in the middle of a file")
        if self._left < 0:
            raise ArchiveError(f"at most {self._limit:,} bytes, unpacked", "more")
        return piece


def _read(archive: tarfile.TarFile, folder: PurePosixPath, limits: Limits) -> Tree:
    files, top, size = _Files(), "", 0
    for count, member in enumerate(archive, 1):
        if count > limits.files:
            raise ArchiveError(f"at most {limits.files:,} files", "more")
        if member.size < 0:
            raise ArchiveError("sizes of at least 0 bytes", f"{member.name}: {member.size}")
        if member.size > limits.unpacked:  # tarfile would look for what comes after it, in years of small steps
            got = f"{member.name}: {member.size:,} or more"
            raise ArchiveError(f"at most {limits.unpacked:,} bytes, unpacked", got)
        path = _checked(member.name)
        top = top or path.parts[0]
        if path.parts[0] != top:
            raise ArchiveError(f"one top folder, {top}", str(path))
        inside = PurePosixPath(*path.parts[1:])
        if not member.isdir() and inside.is_relative_to(folder) and inside != folder:
            size += member.size
            if size > limits.folder:
                raise ArchiveError(f"at most {limits.folder:,} bytes in {folder}", "more")
            files.add(inside.relative_to(folder), _content(archive, member))
    return files.tree


def _checked(name: str) -> PurePosixPath:
    if len(name) > LONGEST_PATH:
        raise ArchiveError(f"paths of at most {LONGEST_PATH:,} characters", f"{len(name):,}")
    path = PurePosixPath(name)
    if path.is_absolute() or not path.parts or ".." in path.parts or "\\" in name or not name.isprintable():
        raise ArchiveError("paths below the archive's top folder", repr(name))
    return path


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    is_plain = member.isreg() and not member.issparse()  # one with holes is as large as it says
    file = archive.extractfile(member) if is_plain else None
    if file is None:
        kind = "a link" if member.issym() or member.islnk() else "neither file nor folder"
        raise ArchiveError("plain files in a policy's folder", f"{member.name} ({kind})")
    return file.read()


class _Files:
    """Each path once, as a file or as a folder."""

    def __init__(self) -> None:
        self.tree: Tree = {}
        self._folders: set[str] = set()

    def add(self, path: PurePosixPath, content: bytes) -> None:
        folders, name = {str(parent) for parent in path.parents}, str(path)
        if name in self.tree or name in self._folders or any(folder in self.tree for folder in folders):
            raise ArchiveError("each path once", name)
        self._folders |= folders
        self.tree[name] = content
