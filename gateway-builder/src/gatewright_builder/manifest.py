"""build.yaml: which policies a gateway is built with."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from gatewright.definition import NAME, NAME_CURE, NAME_PATTERN
from gatewright_documents.document import Document
from gatewright_documents.mistake import Mistake
from gatewright_documents.strict import decode, described
from gatewright_documents.values import JsonValue
from packaging.utils import canonicalize_name

from gatewright_builder.author_file import read_author_file
from gatewright_builder.mistake import BuildError
from gatewright_builder.origin import NAMED, Kind
from gatewright_builder.redaction import redacted

PolicyName = Annotated[str, described(NAME, NAME_CURE, NAME_PATTERN)]
FilePath = Annotated[
    str, described("the policy's folder, relative to this file", "write one like policies/add-headers")
]
GoModule = Annotated[
    str,
    described(
        "a Go module and its version", "write one like example.com/policies/limit@v1.2.0", r"^[\w.~/-]+@[\w.+~/-]+$"
    ),
]
PythonModule = Annotated[
    str,
    described(
        "a folder of a GitHub repository at a tag, branch or commit",
        "write one like github.com/org/repo/policies/limit@v1.2.0",
        r"^github\.com(/(?!\.{1,2}(?:[/@]|$))[\w.-]+){2,}@(?![-/.])(?!.*\.\.)[\w./+-]+$",
    ),
]
PipPackage = Annotated[
    str,
    described(
        "a package and its versions, without an address",
        "write one like acme-limit==1.2.0: the index and its credentials come from the environment (UV_DEFAULT_INDEX)",
        r"^[A-Za-z0-9][\w.-]*\s*(===?|~=|!=|[<>]=?)\s*[\w.*+!-]+(\s*,\s*(===?|~=|!=|[<>]=?)\s*[\w.*+!-]+)*$",
    ),
]
Sdist = Annotated[
    str,
    described(
        "a package that may be built from its sources",
        "write one like acme-tokens, without versions",
        r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$",
    ),
]
Replace = Annotated[str, described("a local folder, relative to this file", "write one like ../limit")]
Group = Annotated[str, described("an executor group's name", "write one like default", NAME_PATTERN)]
Requirements = Annotated[
    list[str],
    described("a list of packages and their versions", "write one like [presidio-analyzer>=2.2], without addresses"),
]


class EntryFields(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """The keys of one entry of `policies`. A policy that ships has no source.

    A policy without `group` runs in the executor group `default`. Its group gets the packages under `requirements`
    besides those that the policy itself asks for.
    """

    name: PolicyName
    file_path: FilePath = ""
    gomodule: GoModule = ""
    pythonmodule: PythonModule = ""
    pip_package: PipPackage = ""
    replace: Replace = ""
    group: Group = ""
    requirements: Requirements = []


class ManifestFields(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The keys of build.yaml."""

    version: Annotated[Literal["v1"], described("v1", "write version: v1")]
    policies: Annotated[list[JsonValue], described("a list of policies", "write - name: … and filePath: … below it")]
    sdists: Annotated[
        list[Sdist],
        described(
            "a list of packages that may be built from their sources", "write one like [acme-tokens], without versions"
        ),
    ] = []


@dataclass(frozen=True, slots=True)
class Entry:
    """One policy of build.yaml: its name, where its sources are, its executor group ("" if not given), its line.

    replace: the local folder that stands in for a Go module; "" for none. requirements: the packages that its group
    gets for it. file: build.yaml's name in mistakes.
    """

    name: str
    kind: Kind
    source: str
    line: int
    group: str = ""
    replace: str = ""
    requirements: tuple[str, ...] = ()
    file: str = "build.yaml"

    @property
    def local(self) -> str:
        """The folder on this machine that its sources are in, as written; "" where they come from elsewhere."""
        return self.source if self.kind is Kind.FILE_PATH else self.replace

    @property
    def key(self) -> str:
        """What build.lock keeps its pin under."""
        return f"{self.kind} {self.source}"


@dataclass(frozen=True, slots=True)
class Manifest:
    """A build.yaml: its right entries, and what is wrong with the others.

    sdists: the packages, by their normal names and sorted, that may be built from their sources.
    """

    path: Path
    entries: tuple[Entry, ...]
    mistakes: tuple[Mistake, ...] = ()
    sdists: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """What file paths in it, and in mistakes, are relative to."""
        return self.path.parent

    def shown(self, path: Path) -> str:
        """A file's name in mistakes."""
        return os.path.relpath(path, self.folder)

    def mistake(self, entry: Entry, expected: str, got: str, cure: str) -> Mistake:
        """A mistake in an entry."""
        return Mistake.in_file(self.path.name, expected, got, cure, entry.line)


def read_manifest(path: Path) -> Manifest:
    """Reads build.yaml. Raises BuildError where it has no list of policies."""
    if not path.exists():
        cure = "check the path; `gatewright init` makes a folder with one"
        raise BuildError([Mistake.in_file(path.name, "a file", "no such file", cure)])
    document = read_author_file(path, path.name)
    fields = decode(ManifestFields, document, document.value, redact=redacted)
    if isinstance(fields, list):
        raise BuildError(fields)
    read = [_entry(document, value, index) for index, value in enumerate(fields.policies)]
    mistakes = tuple(mistake for entry in read if isinstance(entry, list) for mistake in entry)
    entries = tuple(entry for entry in read if isinstance(entry, Entry))
    sdists = tuple(sorted({canonicalize_name(name) for name in fields.sdists}))
    return Manifest(path.resolve(), entries, mistakes, sdists)


def _entry(document: Document, value: object, index: int) -> Entry | list[Mistake]:
    at = ("policies", index)
    fields = decode(EntryFields, document, value, at, redacted)
    if isinstance(fields, list):
        return fields
    sources = (fields.file_path, fields.gomodule, fields.pythonmodule, fields.pip_package)
    named = {kind: source for kind, source in zip(NAMED, sources, strict=True) if source}
    if len(named) > 1:
        expected, got = f"one of {', '.join(NAMED)}", " and ".join(named)
        return [document.mistake(at, expected, got, "name its sources once")]
    named = named or {Kind.SHIPPED: fields.name}
    if fields.replace and Kind.GO_MODULE not in named:
        expected, cure = "replace beside gomodule", "remove it, or name the folder by filePath"
        return [document.mistake((*at, "replace"), expected, " and ".join(named), cure)]
    ((kind, source),) = named.items()
    line, requirements = document.line(*at), tuple(fields.requirements)
    return Entry(fields.name, kind, source, line, fields.group, fields.replace, requirements, document.file)
