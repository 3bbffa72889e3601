"""build.yaml: which policies a gateway is built with."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from gatewright_builder.definition import NAME_PATTERN, PolicyName
from gatewright_builder.document import Document, read_document
from gatewright_builder.mistake import BuildError, Mistake, refuse_if_any
from gatewright_builder.strict import decode, describe, shown

NOT_YET = ("gomodule", "pythonmodule", "pipPackage")

FilePath = Annotated[str, describe("the policy's folder, relative to this file", "write one like policies/add-headers")]
Group = Annotated[str, describe("an executor group's name", "write one like default", NAME_PATTERN)]


class EntryFields(msgspec.Struct, frozen=True, rename="camel"):
    """The keys of one entry of `policies`. A policy without `group` runs in the executor group `default`."""

    name: PolicyName
    file_path: FilePath
    group: Group = ""


class ManifestFields(msgspec.Struct, frozen=True):
    """The keys of build.yaml."""

    version: Annotated[Literal["v1"], describe("v1", "write version: v1")]
    policies: Annotated[list[object], describe("a list of policies", "write - name: … and filePath: … below it")]


@dataclass(frozen=True, slots=True)
class Entry:
    """One policy of build.yaml: its name, its folder as written, its executor group ("" if not given), its line."""

    name: str
    file_path: str
    group: str
    line: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """A right build.yaml."""

    path: Path
    entries: tuple[Entry, ...]

    @property
    def folder(self) -> Path:
        """What file paths in it, and in mistakes, are relative to."""
        return self.path.parent

    def shown(self, path: Path) -> str:
        """A file's name in mistakes."""
        return os.path.relpath(path, self.folder)


def read_manifest(path: Path) -> Manifest:
    """Reads build.yaml. Raises BuildError with all its mistakes."""
    document = read_document(path, path.name)
    fields = decode(ManifestFields, document, document.value)
    if isinstance(fields, list):
        raise BuildError(fields)
    read = [_entry(document, value, index) for index, value in enumerate(fields.policies)]
    refuse_if_any(mistake for entry in read if isinstance(entry, list) for mistake in entry)
    return Manifest(path.resolve(), tuple(entry for entry in read if isinstance(entry, Entry)))


def _entry(document: Document, value: object, index: int) -> Entry | list[Mistake]:
    at = ("policies", index)
    later = [key for key in NOT_YET if isinstance(value, dict) and key in value]
    if later:
        assert isinstance(value, dict)
        cure = f"put the policy into a folder and name that by filePath: {later[0]} is not supported yet"
        return [document.mistake((*at, later[0]), "filePath", f"{later[0]}: {shown(value[later[0]])}", cure)]
    fields = decode(EntryFields, document, value, at)
    if isinstance(fields, list):
        return fields
    return Entry(fields.name, fields.file_path, fields.group, document.line(*at))
