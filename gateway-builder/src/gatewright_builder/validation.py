"""Everything about the input that can be known before anything is built: all mistakes, at once."""

from __future__ import annotations

from collections.abc import Iterator

from sdk.definition import Runtime

from gatewright_builder.discovery import Discovery
from gatewright_builder.go_source import validate_go_directory_structure
from gatewright_builder.manifest import Manifest
from gatewright_builder.mistake import Mistake, refuse_if_any
from gatewright_builder.policy import Policy, sorted_policies
from gatewright_builder.python_source import validate_python_directory_structure
from gatewright_builder.requirements import requirement_mistakes


def validate(discovery: Discovery) -> tuple[Policy, ...]:
    """The policies of a right build.yaml, sorted by name and version. Raises BuildError."""
    mistakes = [*discovery.mistakes, *_twice(discovery)]
    for policy in discovery.policies:
        mistakes += _entry_mistakes(discovery.manifest, policy)
        mistakes += _source_mistakes(policy)
    refuse_if_any(mistakes)
    return sorted_policies(discovery.policies)


def _twice(discovery: Discovery) -> Iterator[Mistake]:
    seen: dict[str, Policy] = {}
    for policy in discovery.policies:
        first = seen.setdefault(policy.key, policy)
        if first is not policy:
            got = f"{policy.shown} beside {first.shown}"
            cure = "remove one, or raise the version in its definition"
            yield Mistake(discovery.manifest.path.name, f"{policy.key} once", got, cure, policy.entry.line)


def _entry_mistakes(manifest: Manifest, policy: Policy) -> Iterator[Mistake]:
    if policy.entry.name != policy.name:
        where = f"{manifest.path.name}:{policy.entry.line}"
        cure = "make the two names the same"
        yield policy.definition_mistake("name", f"{policy.entry.name}, as {where} says", policy.name, cure)
    if policy.entry.group and policy.runtime is Runtime.GO:
        expected, got = f"no group for {policy.name}", f"group: {policy.entry.group} (it is a Go policy)"
        cure = "remove group: only Python policies run in an executor group"
        yield Mistake(manifest.path.name, expected, got, cure, policy.entry.line)


def _source_mistakes(policy: Policy) -> Iterator[Mistake]:
    if policy.runtime is Runtime.GO:
        yield from validate_go_directory_structure(policy)
    else:
        yield from validate_python_directory_structure(policy)
        yield from requirement_mistakes(policy)
