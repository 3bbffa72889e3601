"""What is known of a compiled engine: written beside it, as policy-engine.json."""

from __future__ import annotations

from pathlib import Path

import msgspec

ENGINE = "policy-engine"
RECORD = "policy-engine.json"
RECORD_FORM = "2"
"""Goes up when a record says the same in another way: an engine with an older one is then made anew."""


class GoModule(msgspec.Struct, frozen=True, omit_defaults=True):
    """One module that was compiled in; version is (devel) for the build's own."""

    path: str
    version: str = ""
    sum: str = ""


class EngineRecord(msgspec.Struct, frozen=True):
    """inputs: digest of all sources. toolchain: Go's. sha256: the binary's. policies: NAME:VERSION → its digest."""

    inputs: str
    toolchain: str
    sha256: str
    policies: dict[str, str]
    modules: list[GoModule]


def read_record(folder: Path) -> EngineRecord | None:
    """The record of the engine in a folder; None unless both are there."""
    file = folder / RECORD
    if not (file.is_file() and (folder / ENGINE).is_file()):
        return None
    try:
        return msgspec.json.decode(file.read_bytes(), type=EngineRecord)
    except msgspec.DecodeError:
        return None


def write_record(folder: Path, record: EngineRecord) -> None:
    """Writes it, sorted and for reading."""
    content = msgspec.json.encode(record, order="deterministic")
    (folder / RECORD).write_bytes(msgspec.json.format(content, indent=2) + b"\n")
