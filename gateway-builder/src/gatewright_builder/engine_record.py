"""What is known of a compiled engine: written beside it, as policy-engine.json or libgatewright.json."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

ENGINE = "policy-engine"
RECORD = "policy-engine.json"
RECORD_FORM = "2"
"""Goes up when a record says the same in another way: an engine with an older one is then made anew."""


@dataclass(frozen=True, slots=True)
class Form:
    """A form of the engine: the file that it is compiled to, and the file of its record.

    flags: of `go build`. with_c: whether it is compiled with a C compiler.
    """

    file: str
    record: str
    flags: tuple[str, ...] = ()
    with_c: bool = False

    @property
    def files(self) -> tuple[str, str]:
        """The names of both files."""
        return self.file, self.record


PROGRAM = Form(ENGINE, RECORD)
"""A process of its own, which Envoy calls by ext_proc."""
MODULE = Form("libgatewright.so", "libgatewright.json", ("-buildmode=c-shared", "-tags=inenvoy"), with_c=True)
"""A library that Envoy loads as a dynamic module: the engine is then a part of Envoy's process."""
FORMS = PROGRAM, MODULE


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


def read_record(folder: Path, form: Form = PROGRAM) -> EngineRecord | None:
    """The record of the engine in a folder; None unless both are there."""
    file = folder / form.record
    if not (file.is_file() and (folder / form.file).is_file()):
        return None
    try:
        return msgspec.json.decode(file.read_bytes(), type=EngineRecord)
    except msgspec.DecodeError:
        return None


def write_record(folder: Path, record: EngineRecord, form: Form = PROGRAM) -> None:
    """Writes it, sorted and for reading."""
    content = msgspec.json.encode(record, order="deterministic")
    (folder / form.record).write_bytes(msgspec.json.format(content, indent=2) + b"\n")
