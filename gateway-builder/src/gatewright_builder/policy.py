"""A policy as discovery found it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gatewright.access import Access, union
from gatewright.definition import Runtime
from gatewright_documents.mistake import Mistake

from gatewright_builder.manifest import Entry
from gatewright_builder.origin import Origin
from gatewright_builder.policy_definition import Definition
from gatewright_builder.tree import Tree, tree_digest

DEFAULT_GROUP = "default"


@dataclass(frozen=True, slots=True)
class Policy:
    """One policy: its line in build.yaml, where it comes from, its definition, its sources without tests and caches."""

    entry: Entry
    origin: Origin
    definition: Definition
    sources: Tree

    @property
    def shown(self) -> str:
        """Its folder's name in mistakes."""
        return self.origin.shown

    @property
    def name(self) -> str:
        """add-python-header"""
        return self.definition.fields.name

    @property
    def version(self) -> str:
        """v1.0.0"""
        return self.definition.fields.version

    @property
    def runtime(self) -> Runtime:
        """The language it is written in."""
        return self.definition.fields.runtime

    @property
    def key(self) -> str:
        """add-python-header:v1.0.0"""
        return f"{self.name}:{self.version}"

    @property
    def identifier(self) -> str:
        """add_python_header_v1_0_0: its package in Python and in Go. No two policies share one."""
        return f"{self.name}-{self.version}".replace("-", "_").replace(".", "_")

    @property
    def group(self) -> str:
        """The executor group that runs it, if it is a Python policy."""
        return self.entry.group or DEFAULT_GROUP

    @property
    def access(self) -> Access:
        """What it asks to reach."""
        return self.definition.fields.access

    @property
    def source_digest(self) -> str:
        """SHA-256, in hex, over its sources."""
        return tree_digest(self.sources)

    def mistake(self, file: str, expected: str, got: str, cure: str, line: int | None = None) -> Mistake:
        """A mistake in one of its files; line: from 1, None where it is the whole file's."""
        return Mistake.in_file(f"{self.shown}/{file}", expected, got, cure, line)

    def definition_mistake(self, field: str, expected: str, got: str, cure: str) -> Mistake:
        """A mistake in a field of its definition; `field` is dotted."""
        return self.definition.document.mistake(tuple(field.split(".")), expected, got, cure)


def of_runtime(policies: tuple[Policy, ...], runtime: Runtime) -> tuple[Policy, ...]:
    """The policies of one runtime, in their order."""
    return tuple(policy for policy in policies if policy.runtime == runtime)


def groups(policies: tuple[Policy, ...]) -> dict[str, tuple[Policy, ...]]:
    """The Python policies by their executor group; groups sorted, policies in their order."""
    python = of_runtime(policies, Runtime.PYTHON)
    names = sorted({policy.group for policy in python})
    return {name: tuple(policy for policy in python if policy.group == name) for name in names}


def group_access(policies: tuple[Policy, ...]) -> Access:
    """What the processes of a group with these policies are to reach."""
    return union(policy.access for policy in policies)


def sorted_policies(policies: tuple[Policy, ...]) -> tuple[Policy, ...]:
    """By name, then by version as numbers: v1.9.0 before v1.10.0."""
    return tuple(sorted(policies, key=lambda policy: (policy.name, list(version_numbers(policy.version)))))


def version_numbers(version: str) -> Iterator[int]:
    """v1.10.0 → 1, 10, 0"""
    return map(int, version.removeprefix("v").split("."))
