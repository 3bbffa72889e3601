"""From sources that were found to policies: the runtime is what the policy's own definition says."""

from __future__ import annotations

from dataclasses import dataclass

from gatewright.definition import Runtime
from gatewright_documents.mistake import Mistake

from gatewright_builder.fetching.location import Located
from gatewright_builder.manifest import Entry, Manifest
from gatewright_builder.mistake import Mistakes
from gatewright_builder.origin import Origin
from gatewright_builder.policy import Policy
from gatewright_builder.policy_definition import Definition, read_definition
from gatewright_builder.source_files import collect_go_source_files, collect_python_source_files


@dataclass(frozen=True, slots=True)
class Discovery:
    """The policies of a build.yaml, in its order, and what is wrong with those that are missing here."""

    manifest: Manifest
    policies: tuple[Policy, ...]
    mistakes: tuple[Mistake, ...]


def discover(located: Located) -> Discovery:
    """Reads every policy whose sources were found."""
    policies: list[Policy] = []
    mistakes = Mistakes(list(located.mistakes))
    for entry, origin in located.origins:
        with mistakes.gather():
            policies.append(discover_policy(entry, origin))
    return Discovery(located.manifest, tuple(policies), tuple(mistakes.found))


def discover_policy(entry: Entry, origin: Origin) -> Policy:
    """Reads one policy, as its definition says what it is. Raises BuildError."""
    definition = read_definition(origin.folder, origin.shown)
    if definition.fields.runtime is Runtime.PYTHON:
        return discover_python_policy(entry, origin, definition)
    return discover_go_policy(entry, origin, definition)


def discover_python_policy(entry: Entry, origin: Origin, definition: Definition) -> Policy:
    """A policy that an executor runs."""
    return Policy(entry, origin, definition, collect_python_source_files(origin.folder))


def discover_go_policy(entry: Entry, origin: Origin, definition: Definition) -> Policy:
    """A policy that is compiled into the engine."""
    return Policy(entry, origin, definition, collect_go_source_files(origin.folder))
