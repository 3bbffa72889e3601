"""Where a policy's sources come from: the kinds that build.yaml knows, and what each was found to be."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import msgspec


class Kind(StrEnum):
    """How an entry of build.yaml names its policy."""

    FILE_PATH = "filePath"
    GO_MODULE = "gomodule"
    PYTHON_MODULE = "pythonmodule"
    PIP_PACKAGE = "pipPackage"
    SHIPPED = "shipped"  # named by nothing but its name


NAMED = (Kind.FILE_PATH, Kind.GO_MODULE, Kind.PYTHON_MODULE, Kind.PIP_PACKAGE)
"""The kinds that are keys of an entry."""


class Pin(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a source was resolved to, so that the next build gets the very same.

    digest: SHA-256 over the policy's files (tree_digest). version: what a range or a query led to. sum: the Go
    module's own checksum. commit: of the archive, where it says so.
    """

    digest: str
    version: str = ""
    sum: str = ""
    commit: str = ""


@dataclass(frozen=True, slots=True)
class Origin:
    """One policy's sources, on this machine.

    source: as build.yaml has it. resolved: the exact version of it. shown: the folder's name in mistakes.
    requires: the packages that it asks for besides its requirements.txt, from `requires_file`. pin is None for a
    local folder.
    """

    kind: Kind
    source: str
    resolved: str
    folder: Path
    shown: str
    licence: str = ""
    requires: tuple[str, ...] = ()
    requires_file: str = ""
    pin: Pin | None = None
