"""Everything about the input that can be known before anything is built: all mistakes, at once."""

from __future__ import annotations

from collections.abc import Iterator

from gatewright.definition import Runtime
from gatewright_documents.mistake import Mistake

from gatewright_builder.discovery import Discovery
from gatewright_builder.go_source import validate_go_directory_structure
from gatewright_builder.manifest import Manifest
from gatewright_builder.mistake import refuse_if_any
from gatewright_builder.origin import Kind
from gatewright_builder.policy import Policy, groups, sorted_policies
from gatewright_builder.python_source import validate_python_directory_structure
from gatewright_builder.requirements import Requirement, conflicts, requirement_mistakes

RUNTIMES = {Kind.GO_MODULE: Runtime.GO, Kind.PYTHON_MODULE: Runtime.PYTHON, Kind.PIP_PACKAGE: Runtime.PYTHON}


def validate(discovery: Discovery, executor: tuple[Requirement, ...] = ()) -> tuple[Policy, ...]:
    """The policies of a right build.yaml, sorted by name and version. Raises BuildError.

    executor: what the executor itself asks for, beside which every group's packages must fit.
    """
    mistakes = [*discovery.mistakes, *_twice(discovery)]
    for policy in discovery.policies:
        mistakes += _entry_mistakes(discovery.manifest, policy)
        mistakes += _source_mistakes(policy)
    for policies in groups(discovery.policies).values():
        mistakes += conflicts(executor, policies)
    refuse_if_any(mistakes)
    return sorted_policies(discovery.policies)


def _twice(discovery: Discovery) -> Iterator[Mistake]:
    seen: dict[str, Policy] = {}
    for policy in discovery.policies:
        first = seen.setdefault(policy.key, policy)
        if first is not policy:
            got = f"{policy.shown} beside {first.shown}"
            cure = "remove one, or raise the version in its definition"
            yield discovery.manifest.mistake(policy.entry, f"{policy.key} once", got, cure)


def _entry_mistakes(manifest: Manifest, policy: Policy) -> Iterator[Mistake]:
    if policy.entry.name != policy.name:
        where = f"{manifest.path.name}:{policy.entry.line}"
        cure = "make the two names the same"
        yield policy.definition_mistake("name", f"{policy.entry.name}, as {where} says", policy.name, cure)
    if policy.entry.group and policy.runtime is Runtime.GO:
        got = f"group: {policy.entry.group} (it is a Go policy)"
        cure = "remove group: only Python policies run in an executor group"
        yield manifest.mistake(policy.entry, f"no group for {policy.name}", got, cure)
    if policy.entry.requirements and policy.runtime is Runtime.GO:
        got = f"requirements: [{', '.join(policy.entry.requirements)}] (it is a Go policy)"
        cure = "remove requirements: they are Python packages"
        yield manifest.mistake(policy.entry, f"no requirements for {policy.name}", got, cure)
    wanted = RUNTIMES.get(policy.entry.kind)
    if wanted and policy.runtime is not wanted:
        cure = f"name its sources by {Kind.FILE_PATH}, or correct its runtime"
        yield policy.definition_mistake("runtime", f"{wanted}, for {policy.entry.kind}", policy.runtime, cure)


def _source_mistakes(policy: Policy) -> Iterator[Mistake]:
    if policy.runtime is Runtime.GO:
        yield from validate_go_directory_structure(policy)
    else:
        yield from validate_python_directory_structure(policy)
        yield from requirement_mistakes(policy)
