"""build.lock, beside build.yaml: what the last build resolved, so that the next one builds the very same.

JSON, sorted, one line a package and a hash: made to be committed and to be read in a diff. It names no index.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import msgspec
from gatewright_documents.mistake import Mistake
from packaging.utils import canonicalize_name

from gatewright_builder.mistake import BuildError
from gatewright_builder.origin import Pin

SUFFIX = ".lock"
LOCKED = re.compile(r"([A-Za-z0-9][\w.-]*)==")


class GroupPin(msgspec.Struct, frozen=True, omit_defaults=True):
    """A group's packages. asked: digest of what they were resolved for. packages: the lines of its lock. sdists: those
    of them that build.yaml allowed to be built from their sources; all others are wheels.
    """

    asked: str
    packages: list[str]
    sdists: list[str] = []

    @property
    def names(self) -> set[str]:
        """The packages, in their normal form."""
        return {canonicalize_name(found[1]) for line in self.packages if (found := LOCKED.match(line))}

    @property
    def text(self) -> str:
        """As requirements.lock has it."""
        return "\n".join([*self.packages, ""])


class Lock(msgspec.Struct, frozen=True):
    """All of a build.lock. sources: by kind and source, as build.yaml has them. groups: by name."""

    version: int = 1
    sources: dict[str, Pin] = {}
    groups: dict[str, GroupPin] = {}


def lock_path(manifest: Path) -> Path:
    """build.yaml → build.lock"""
    return manifest.with_suffix(SUFFIX)


def read_lock(path: Path) -> Lock:
    """The lock; an empty one where there is no file. Raises BuildError."""
    if not path.is_file():
        return Lock()
    try:
        lock = msgspec.json.decode(path.read_bytes(), type=Lock)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        cure = "take it from version control, or remove it: the next build resolves anew"
        raise BuildError(
            [Mistake.in_file(path.name, "a lock that gatewright build wrote", str(error), cure)]
        ) from error
    if lock.version != 1:
        raise BuildError(
            [Mistake.in_file(path.name, "version 1", str(lock.version), "use the gatewright that wrote it")]
        )
    return lock


def write_lock(path: Path, lock: Lock) -> bool:
    """Writes it where it differs, whole or not at all; answers whether it did. An empty one is no file.

    Raises BuildError where the folder cannot be written.
    """
    content = _content(lock)
    before = path.read_bytes() if path.is_file() else b""
    if content == before:
        return False
    try:
        _replace(path, content)
    except OSError as error:
        cure = "let the build write it, or build with the lock that belongs to this build.yaml"
        raise BuildError(
            [Mistake.in_file(path.name, "a folder that can be written", str(error.strerror), cure)]
        ) from error
    return True


def refuse_change(path: Path, lock: Lock) -> None:
    """For a build that is to be as locked: raises BuildError where the lock would change."""
    if _content(lock) != (path.read_bytes() if path.is_file() else b""):
        got = "another one, or none"
        raise BuildError(
            [Mistake.in_file(path.name, "the lock of this very build", got, "build without --locked and commit it")]
        )


def _content(lock: Lock) -> bytes:
    if not (lock.sources or lock.groups):
        return b""
    return msgspec.json.format(msgspec.json.encode(lock, order="deterministic"), indent=2) + b"\n"


def _replace(path: Path, content: bytes) -> None:
    if not content:
        path.unlink()
        return
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_bytes(content)
    aside.replace(path)
