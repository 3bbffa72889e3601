"""Known policies: those that ship with this installation, or those of a build."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

from gatewright.definition import PolicyDefinition
from gatewright_builder.mistake import BuildError
from gatewright_builder.sources import DEFINITION_FILE, find_sources
from gatewright_documents.document import read_file
from gatewright_documents.mistake import Invalid, listed
from gatewright_documents.policy_definition import mistakes_in_definition
from gatewright_documents.values import JsonObject

from gatewright_cli.commands.options import DEFINITIONS, OUTPUT
from gatewright_cli.mistakes import PreflightError, refuse

EXAMPLES_FILE = "example.yaml"
STAND_IN = re.compile(r"\$([A-Z][A-Z_]+)\b")
"""The placeholder in an example for a value that the reader chooses, such as `$ISSUER`."""
SIMILARITY = 0.6


@dataclass(frozen=True)
class KnownPolicy:
    """One version of a policy. content: its definition as the author wrote it. examples: of its attachment, which
    policies that ship come with; empty for others.
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
    """The policies that ship, or all of a build output, by name, the newest version of each first; without examples.

    Raises PreflightError for a folder that is no build output, or a definition in it that is invalid.
    """
    if build is None:
        return _read_all([folder / DEFINITION_FILE for folder in _shipped_folders()])
    paths = sorted((build / DEFINITIONS).glob("*.yaml"))
    if not paths:
        cure = "name the folder that `gatewright build` has written, or leave --build out for the policies that ship"
        raise PreflightError([f"--build {build}: expected a build output with {DEFINITIONS} in it, got none; {cure}"])
    return sorted(_read_all(paths), key=lambda policy: (policy.name, [-number for number in _numbers(policy.version)]))


def find_policy(wanted: str, build: Path | None = None) -> tuple[KnownPolicy, list[str]]:
    """The newest policy that NAME, NAME:v1 or NAME:v1.0.0 names, with its examples, and all versions of that name.

    Raises PreflightError, with a suggestion if a name is similar.
    """
    name, _, version = wanted.partition(":")
    versions = (
        _shipped_policies(name)
        if build is None
        else [policy for policy in known_policies(build) if policy.name == name]
    )
    if not versions:
        raise PreflightError([_unknown_mistake(name, {policy.name for policy in known_policies(build)}, build)])
    known_versions = [policy.version for policy in versions]
    fitting = [policy for policy in versions if not version or f"{policy.version}.".startswith(f"{version}.")]
    if not fitting:
        mistake = f"expected a version of {name}, {listed(known_versions)}, got {version!r}"
        raise PreflightError([f"NAME: {mistake}; write {name}:{known_versions[0]}, or {name} alone for the newest"])
    return (fitting[0] if build is None else _with_examples(fitting[0])), known_versions


def _shipped_folders() -> tuple[Path, ...]:
    try:
        return find_sources().shipped_policies
    except BuildError as error:
        raise PreflightError([str(mistake) for mistake in error.mistakes]) from error


def _shipped_policies(name: str) -> list[KnownPolicy]:
    """The versions of a shipped policy, with examples. Only the folder of this name is read."""
    folders = [folder for folder in _shipped_folders() if folder.name == name]
    policies = _read_all([folder / DEFINITION_FILE for folder in folders])
    return [replace(policy, examples=_examples(folder)) for folder, policy in zip(folders, policies, strict=True)]


def _read_all(paths: Sequence[Path]) -> list[KnownPolicy]:
    policies, mistakes = [], []
    for path in paths:
        try:
            document = read_file(path, str(path))
            if wrong := list(mistakes_in_definition(document)):
                raise Invalid(wrong)
            policies.append(KnownPolicy(PolicyDefinition.from_document(document.value), document.value))
        except Invalid as invalid:
            mistakes += [str(mistake) for mistake in invalid.mistakes]
    refuse(mistakes)
    return policies


def _examples(folder: Path) -> tuple[JsonObject, ...]:
    path = folder / EXAMPLES_FILE
    return tuple(read_file(path, str(path)).value) if path.is_file() else ()


def _with_examples(policy: KnownPolicy) -> KnownPolicy:
    """The policy with the examples of the shipped one, if both have the same definition."""
    same = [shipped for shipped in _shipped_policies(policy.name) if shipped.content == policy.content]
    return same[0] if same else policy


def _unknown_mistake(name: str, known: Iterable[str], build: Path | None) -> str:
    names = sorted(known)
    where = "that ships" if build is None else f"of the build in {build}"
    similar = _similar_names(name, names)
    meant = f"one of {', '.join(similar)}" if len(similar) > 1 else "".join(similar)
    cures = [f"did you mean {meant}?" if meant else f"there are {', '.join(names)}"]
    if build is None:
        cures.append(f"use --build {OUTPUT} for your own, once they are built")
    return f"NAME: expected a policy {where}, got {name!r}; {'; '.join(cures)}"


def _similar_names(name: str, names: Sequence[str]) -> list[str]:
    """The names that have `name` as a word, as jwt-auth has `jwt`; else the one with the most similar spelling."""
    with_word = [known for known in names if name and re.search(rf"(^|-){re.escape(name)}(-|$)", known)]
    return with_word or get_close_matches(name, names, n=1, cutoff=SIMILARITY)


def _numbers(version: str) -> list[int]:
    return [int(number) for number in version[1:].split(".")]
