"""Policy definitions: what there is to attach, and what each policy wants to be given."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import msgspec
from gatewright.definition import PolicyDefinition, definition_digest
from gatewright_documents.document import read_document
from gatewright_documents.mistake import Invalid, Mistake, listed
from gatewright_documents.policy_definition import mistakes_in_definition
from gatewright_documents.schema import Schema
from gatewright_documents.values import JsonObject

MAJOR = re.compile(r"v([0-9]+)")
SYSTEM_PARAMETERS_CURE = (
    "set it in GATEWRIGHT_CONTROLLER_SYSTEM_PARAMETERS or the controller's settings file, which it reads at its start"
)


@dataclass(frozen=True)
class Definition:
    """One policy: its definition, the digest that nodes compare, and its schema, compiled."""

    policy: PolicyDefinition
    digest: str
    parameters: Schema
    system_parameters: JsonObject = field(default_factory=dict)
    """The operator's settings for this policy, as nodes are sent them, with defaults."""

    @property
    def name(self) -> str:
        """add-python-header"""
        return self.policy.name

    @property
    def version(self) -> str:
        """v1.0.0"""
        return self.policy.version

    def work_ms(self, timeout_ms: int) -> int:
        """What an attachment of it may take with nothing moving meanwhile: its timeout, twice where it is called with
        the headers of a direction, and then with the stream.
        """
        return 2 * timeout_ms if self._is_called_twice else timeout_ms

    @cached_property
    def _is_called_twice(self) -> bool:
        hooks = self.policy.processing_mode.hooks
        return any(hook in hooks and f"{hook}_stream" in hooks for hook in ("on_request", "on_response"))


class UnknownPolicyError(LookupError):
    """`field` is the attachment's field at fault, the message what was expected there."""

    def __init__(self, field: str, message: str) -> None:
        self.field = field
        super().__init__(message)


class Definitions:
    """All definitions by name and version."""

    def __init__(self, definitions: Iterable[Definition] = ()) -> None:
        self._by_name: dict[str, dict[str, Definition]] = {}
        for definition in definitions:
            self._by_name.setdefault(definition.name, {})[definition.version] = definition
        self._resolved: dict[tuple[str, str], Definition] = {}
        self._in_order = {name: sorted(versions, key=_version_key) for name, versions in self._by_name.items()}

    def __iter__(self) -> Iterator[Definition]:
        for name in sorted(self._by_name):
            yield from (self._by_name[name][version] for version in self._versions(name))

    def resolve(self, name: str, version: str) -> Definition:
        """The definition of an exact version, or for `v1` of the newest v1.x.y. Raises `UnknownPolicyError`."""
        if found := self._resolved.get((name, version)):
            return found
        if name not in self._by_name:
            known, cure = self._known(), "correct the name, or name it in build.yaml and `gatewright reload`"
            raise UnknownPolicyError(
                "name", f"expected a policy of this build, got {name!r}; known are {known}; {cure}"
            )
        if matching := self.matching(name, version):
            self._resolved[name, version] = matching[0]
            return matching[0]
        known = listed(self._versions(name))
        raise UnknownPolicyError("version", f"expected a version of {name} in this build, {known}, got {version!r}")

    def matching(self, name: str, version: str) -> list[Definition]:
        """What may be meant by an exact version, or by `v1`: then the newest comes first."""
        if name not in self._by_name:
            return []
        if not MAJOR.fullmatch(version):
            exact = self.find(name, version)
            return [exact] if exact else []
        newest_first = reversed(self._versions(name))
        return [self._by_name[name][known] for known in newest_first if known.startswith(f"{version}.")]

    def find(self, name: str, version: str) -> Definition | None:
        """The definition of an exact version."""
        return self._by_name.get(name, {}).get(version)

    def _known(self) -> str:
        return ", ".join(sorted(self._by_name)) or "none"

    def _versions(self, name: str) -> list[str]:
        """The oldest first."""
        return self._in_order[name]


class DefinitionChanges(msgspec.Struct, frozen=True):
    """What differs between the definitions of two builds, as name:version, sorted. `changed` have another content."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]

    @staticmethod
    def between(before: Definitions, after: Definitions) -> DefinitionChanges:
        """What differs from `before` to `after`, by the digests of the definitions."""
        old, new = (
            {f"{definition.name}:{definition.version}": definition.digest for definition in definitions}
            for definitions in (before, after)
        )
        return DefinitionChanges(
            tuple(sorted(new.keys() - old.keys())),
            tuple(sorted(old.keys() - new.keys())),
            tuple(sorted(key for key in old.keys() & new.keys() if old[key] != new[key])),
        )

    def concern(self, name: str, version: str) -> bool:
        """Whether what ran as this policy cannot go on as it was."""
        return f"{name}:{version}" in (*self.removed, *self.changed)


def _version_key(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in version[1:].split("."))


def load_definitions(folder: Path, system_parameters: Mapping[str, JsonObject] | None = None) -> Definitions:
    """Every `*.yaml` in the folder. `system_parameters` come from the operator's settings, by policy name.

    Raises `Invalid` with all mistakes of all files.
    """
    if not folder.is_dir():
        raise Invalid([Mistake(str(folder), "expected a folder of policy definitions; `gatewright build` writes one")])
    return definitions_of({path.name: path.read_bytes() for path in folder.glob("*.yaml")}, system_parameters)


def definitions_of(
    texts: Mapping[str, bytes], system_parameters: Mapping[str, JsonObject] | None = None
) -> Definitions:
    """The definitions in these texts, by the names of their files. Raises `Invalid` with all mistakes."""
    settings = dict(system_parameters or {})
    mistakes: list[Mistake] = []
    found: dict[tuple[str, str], Definition] = {}
    names: set[str] = set()
    for where, text in sorted(texts.items()):
        try:
            policy, digest = _read(text, where)
            names.add(policy.name)
            own = _system_parameters(policy, settings.get(policy.name, {}))
            definition = Definition(policy, digest, Schema(dict(policy.parameters)), own)
        except Invalid as invalid:
            mistakes += invalid.mistakes
            continue
        if found.setdefault((definition.name, definition.version), definition) is not definition:
            message = f"defines {definition.name}:{definition.version} a second time"
            mistakes.append(Mistake("", message, file=where))
    mistakes += _unused(settings, names)
    if mistakes:
        raise Invalid(mistakes)
    return Definitions(found.values())


def _unused(settings: Mapping[str, JsonObject], names: set[str]) -> Iterator[Mistake]:
    for name in settings.keys() - names:
        known = ", ".join(sorted(names)) or "none"
        yield Mistake(f"systemParameters.{name}", f"expected a policy of this build; known are {known}")


def _read(text: bytes, where: str) -> tuple[PolicyDefinition, str]:
    """A definition and its digest: of the values as the builder has read them."""
    document = read_document(text, where)
    if mistakes := list(mistakes_in_definition(document)):
        raise Invalid(mistakes)
    return PolicyDefinition.from_document(document.value), definition_digest(document.value)


def _system_parameters(policy: PolicyDefinition, settings: JsonObject) -> JsonObject:
    if not policy.system_parameters and not settings:
        return {}  # of most policies: no schema to compile
    schema = Schema(dict(policy.system_parameters))
    parameters = schema.with_defaults(settings)
    if mistakes := list(schema.parameter_mistakes(parameters, f"systemParameters.{policy.name}", hide_values=True)):
        raise Invalid(
            [replace(mistake, message=f"{mistake.message}; {SYSTEM_PARAMETERS_CURE}") for mistake in mistakes]
        )
    document = schema.for_nodes(parameters)
    assert isinstance(document, dict)
    return document
