"""From the entries of build.yaml to policies: the runtime is what the policy's own definition says."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sdk.definition import Runtime

from gatewright_builder.definition import Definition, read_definition
from gatewright_builder.go_source import collect_go_source_files
from gatewright_builder.manifest import Entry, Manifest
from gatewright_builder.mistake import BuildError, Mistake
from gatewright_builder.policy import Policy
from gatewright_builder.python_source import collect_python_source_files


@dataclass(frozen=True, slots=True)
class Discovery:
    """The policies of a build.yaml, in its order, and what is wrong with those that are missing here."""

    manifest: Manifest
    policies: tuple[Policy, ...]
    mistakes: tuple[Mistake, ...]


def discover(manifest: Manifest) -> Discovery:
    """Reads every policy of the manifest."""
    policies: list[Policy] = []
    mistakes: list[Mistake] = []
    for entry in manifest.entries:
        try:
            policies.append(discover_policy(manifest, entry))
        except BuildError as error:
            mistakes += error.mistakes
    return Discovery(manifest, tuple(policies), tuple(mistakes))


def discover_policy(manifest: Manifest, entry: Entry) -> Policy:
    """Reads one policy, as its definition says what it is. Raises BuildError."""
    folder = (manifest.folder / entry.file_path).resolve()
    shown = manifest.shown(folder)
    definition = read_definition(folder, shown)
    if definition.fields.runtime is Runtime.PYTHON:
        return discover_python_policy(entry, folder, shown, definition)
    return discover_go_policy(entry, folder, shown, definition)


def discover_python_policy(entry: Entry, folder: Path, shown: str, definition: Definition) -> Policy:
    """A policy that an executor runs."""
    return Policy(entry, folder, shown, definition, collect_python_source_files(folder))


def discover_go_policy(entry: Entry, folder: Path, shown: str, definition: Definition) -> Policy:
    """A policy that is compiled into the engine."""
    return Policy(entry, folder, shown, definition, collect_go_source_files(folder))
