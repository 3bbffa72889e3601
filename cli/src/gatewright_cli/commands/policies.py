"""The policies that there are: those that ship with this installation, or those of a build."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

from gatewright.definition import PolicyDefinition
from gatewright_builder.mistake import BuildError
from gatewright_builder.policy_definition import DEFINITION_FILE
from gatewright_builder.sources import find_sources
from gatewright_documents.document import read_file
from gatewright_documents.mistake import Invalid, listed
from gatewright_documents.policy_definition import mistakes_in_definition
from gatewright_documents.values import JsonObject

from gatewright_cli.commands.options import DEFINITIONS, OUTPUT
from gatewright_cli.mistakes import PreflightError, refuse

EXAMPLES_FILE = "example.yaml"
STAND_IN = re.compile(r"\$([A-Z][A-Z_]+)\b")
"""What an example has in the place of a value that is its reader's own, such as `$ISSUER`."""
ALIKE = 0.6


@dataclass(frozen=True)
class KnownPolicy:
    """One version of a policy. content: its definition as the author wrote it. examples: how it is attached, by those
    that come with it; none for policies of one's own.
    """

    definition: PolicyDefinition
    content: JsonObject
    examples: tuple[JsonObject, ...] = ()

    @property
    def name(self) -> str:
        """jwt-auth"""
        return self.definition.name

    @property
    def version(self) -> str:
        """v1.0.0"""
        return self.definition.version


def known_policies(build: Path | None = None) -> list[KnownPolicy]:
    """Those that ship, or all of a build output, by name, the newest version of each first; without their examples.

    Raises PreflightError: no build output, or a definition in it that is none.
    """
    if build is None:
        return _read_all([folder / DEFINITION_FILE for folder in _shipped_folders()])
    paths = sorted((build / DEFINITIONS).glob("*.yaml"))
    if not paths:
        cure = "name the folder that `gatewright build` has written, or leave --build out for the policies that ship"
        raise PreflightError([f"--build {build}: expected a build output with {DEFINITIONS} in it, got none; {cure}"])
    return sorted(_read_all(paths), key=lambda each: (each.name, [-number for number in _numbers(each.version)]))


def find_policy(wanted: str, build: Path | None = None) -> tuple[KnownPolicy, list[str]]:
    """NAME, NAME:v1 or NAME:v1.0.0: the newest that it names, with its examples, and all versions that there are of it.

    Raises PreflightError, with what was meant where a name is alike.
    """
    name, _, version = wanted.partition(":")
    versions = _shipped(name) if build is None else [each for each in known_policies(build) if each.name == name]
    if not versions:
        raise PreflightError([_unknown(name, {each.name for each in known_policies(build)}, build)])
    there = [each.version for each in versions]
    fitting = [each for each in versions if not version or f"{each.version}.".startswith(f"{version}.")]
    if not fitting:
        said = f"expected a version of {name}, {listed(there)}, got {version!r}"
        raise PreflightError([f"NAME: {said}; write {name}:{there[0]}, or {name} alone for the newest"])
    return (fitting[0] if build is None else _with_examples(fitting[0])), there


def _shipped_folders() -> tuple[Path, ...]:
    try:
        return find_sources().shipped_policies
    except BuildError as error:
        raise PreflightError([str(one) for one in error.mistakes]) from error


def _shipped(name: str) -> list[KnownPolicy]:
    """The policy of this name that ships, with its examples. Its folder has its name, so that no other is read."""
    folders = [folder for folder in _shipped_folders() if folder.name == name]
    found = _read_all([folder / DEFINITION_FILE for folder in folders])
    return [replace(each, examples=_examples(folder)) for folder, each in zip(folders, found, strict=True)]


def _read_all(paths: Sequence[Path]) -> list[KnownPolicy]:
    found, mistakes = [], []
    for path in paths:
        try:
            document = read_file(path, str(path))
            if wrong := list(mistakes_in_definition(document)):
                raise Invalid(wrong)
            found.append(KnownPolicy(PolicyDefinition.from_document(document.value), document.value))
        except Invalid as invalid:
            mistakes += [str(one) for one in invalid.mistakes]
    refuse(mistakes)
    return found


def _examples(folder: Path) -> tuple[JsonObject, ...]:
    path = folder / EXAMPLES_FILE
    return tuple(read_file(path, str(path)).value) if path.is_file() else ()


def _with_examples(found: KnownPolicy) -> KnownPolicy:
    """With those of the policy that ships, where this is the same."""
    same = [each for each in _shipped(found.name) if each.content == found.content]
    return same[0] if same else found


def _unknown(name: str, known: Iterable[str], build: Path | None) -> str:
    names = sorted(known)
    where = "that ships" if build is None else f"of the build in {build}"
    alike = _alike(name, names)
    meant = f"one of {', '.join(alike)}" if len(alike) > 1 else "".join(alike)
    cures = [f"did you mean {meant}?" if meant else f"there are {', '.join(names)}"]
    if build is None:
        cures.append(f"use --build {OUTPUT} for your own, once they are built")
    return f"NAME: expected a policy {where}, got {name!r}; {'; '.join(cures)}"


def _alike(name: str, names: Sequence[str]) -> list[str]:
    """Those that have it as a word of theirs, as jwt-auth has `jwt`; else one that is spelled much like it."""
    parts = [one for one in names if name and re.search(rf"(^|-){re.escape(name)}(-|$)", one)]
    return parts or get_close_matches(name, names, n=1, cutoff=ALIKE)


def _numbers(version: str) -> list[int]:
    return [int(number) for number in version[1:].split(".")]
