"""What an API is together with the Defaults that fit it, and where each part of that stands.

Defaults apply one after the other, the general ones first: those with fewer conditions in `for` (each label is one,
and hosts are one), then by name. Policies add up. Of a setting the last Defaults that say it count, and the API's own
value is before them unless they enforce theirs. The order in which Defaults were written says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import UNSET

from gatewright_controller.model import Api, ApiSpec, Defaults, Operation, PolicyAttachment
from gatewright_controller.model.api import FORWARDING_FIELDS
from gatewright_controller.model.defaults import SETTINGS, AddedPolicies, Selection
from gatewright_controller.resource.definitions import Definitions, UnknownPolicyError
from gatewright_controller.resource.hosts import EVERY_HOST, covers_host, patterns_of
from gatewright_controller.resource.node_labels import has_labels
from gatewright_controller.resource.versions import Versions

POLICY = re.compile(r"spec\.policies\[(\d+)\]")


class Origin(msgspec.Struct, frozen=True):
    """defaults: the name of the Defaults that say it; "" where the API does. field: where it stands there."""

    defaults: str
    field: str

    def __str__(self) -> str:
        """`Defaults payments: spec.policies.before[0]`; of the API its field alone."""
        return f"Defaults {self.defaults}: {self.field}" if self.defaults else self.field


class EffectiveSetting(msgspec.Struct, frozen=True):
    """value: as documents have it. overruled: what the API says of it and does not count."""

    value: Any
    origin: Origin
    is_enforced: bool = False
    overruled: Any = UNSET


class Effective(msgspec.Struct, frozen=True):
    """api, versions: what runs. policies: the origin of each of `api.spec.policies`. settings: those that the API or
    Defaults say, by name."""

    api: Api
    versions: Versions
    policies: tuple[Origin, ...]
    settings: Mapping[str, EffectiveSetting] = msgspec.field(default_factory=dict)

    @property
    def is_own(self) -> bool:
        """Whether no Defaults say anything of it."""
        origins = (*self.policies, *(setting.origin for setting in self.settings.values()))
        return not any(origin.defaults for origin in origins)

    def place(self, path: str) -> str:
        """Where a field of the effective API was written."""
        if found := POLICY.match(path):
            return f"{self.policies[int(found[1])]}{path[found.end() :]}"
        for name, setting in self.settings.items():
            if re.match(rf"spec\.{name}\b", path):
                return f"{setting.origin}{path[len(f'spec.{name}') :]}"
        return path


def effective(api: Api, versions: Versions, defaults: Iterable[Defaults], definitions: Definitions) -> Effective:
    """versions: of the API's own attachments. One of Defaults has the newest version of the build that it asks for."""
    chosen = in_order(api, defaults)
    own = [Origin("", f"spec.policies[{index}]") for index in range(len(api.spec.policies))]
    before, after = _added(chosen, "before"), _added(chosen, "after")
    settings = _settings(api, chosen)
    if not chosen:
        return Effective(api, versions, tuple(own), settings)
    policies = [*(policy for policy, _ in before), *api.spec.policies, *(policy for policy, _ in after)]
    resolved = [[_resolved(policy, definitions) for policy, _ in added] for added in (before, after)]
    split = len(own)
    return Effective(
        msgspec.structs.replace(api, spec=_spec(api.spec, policies, settings)),
        (*resolved[0], *versions[:split], *resolved[1], *versions[split:]),
        (*(origin for _, origin in before), *own, *(origin for _, origin in after)),
        settings,
    )


def in_order(api: Api, defaults: Iterable[Defaults]) -> list[Defaults]:
    """The Defaults that fit the API, the general ones first."""
    return sorted((found for found in defaults if _fits(api, _selection(found))), key=_order)


def _order(defaults: Defaults) -> tuple[int, str]:
    selection = _selection(defaults)
    return len(selection.labels) + bool(selection.hosts), defaults.metadata.name


def _selection(defaults: Defaults) -> Selection:
    found = defaults.spec.selection
    return found if isinstance(found, Selection) else Selection()


def _fits(api: Api, selection: Selection) -> bool:
    if not has_labels(api.metadata.labels, selection.labels):
        return False
    hosts = patterns_of(api.spec.hosts)
    return not selection.hosts or any(hosts_meet(host, other) for host in hosts for other in selection.hosts)


def hosts_meet(host: str, other: str) -> bool:
    """Whether a request could be to both. Each is a name or a pattern; `*` is every host."""
    return EVERY_HOST in (host, other) or covers_host(host, other) or covers_host(other, host)


def _added(chosen: Sequence[Defaults], place: str) -> list[tuple[PolicyAttachment, Origin]]:
    return [
        (policy, Origin(defaults.metadata.name, f"spec.policies.{place}[{index}]"))
        for defaults in chosen
        if isinstance(defaults.spec.policies, AddedPolicies)
        for index, policy in enumerate(getattr(defaults.spec.policies, place))
    ]


def _resolved(policy: PolicyAttachment, definitions: Definitions) -> str:
    """Where the build has none, the version that is asked for: what validates it says so."""
    try:
        return definitions.resolve(policy.name, policy.version).version
    except UnknownPolicyError:
        return policy.version


def _settings(api: Api, chosen: Sequence[Defaults]) -> dict[str, EffectiveSetting]:
    found: dict[str, EffectiveSetting] = {}
    others = FORWARDING_FIELDS if api.spec.attach_to else ()
    for name in SETTINGS:
        if name in others:
            continue
        member = _member(name)
        own = value if (value := getattr(api.spec, member)) != _BUILT_IN[member] else UNSET
        saying = next((other for other in reversed(chosen) if getattr(other.spec, member) is not UNSET), None)
        is_enforced = saying is not None and name in saying.spec.enforced
        if saying and (is_enforced or own is UNSET):
            origin = Origin(saying.metadata.name, f"spec.{name}")
            found[name] = EffectiveSetting(getattr(saying.spec, member), origin, is_enforced, own)
        elif own is not UNSET:
            found[name] = EffectiveSetting(own, Origin("", f"spec.{name}"))
    return found


def _spec(spec: ApiSpec, policies: Sequence[PolicyAttachment], settings: Mapping[str, EffectiveSetting]) -> ApiSpec:
    values = {_member(name): setting.value for name, setting in settings.items() if setting.origin.defaults}
    enforced = {_member(name) for name, setting in settings.items() if setting.is_enforced}
    operations = [_without(operation, enforced) for operation in spec.operations]
    return msgspec.structs.replace(spec, policies=list(policies), operations=operations, **values)


def _without(operation: Operation, enforced: set[str]) -> Operation:
    """Without what it says of settings that Defaults enforce."""
    own = {name: UNSET for name in enforced if getattr(operation, name, UNSET) is not UNSET}
    return msgspec.structs.replace(operation, **own) if own else operation


def _member(name: str) -> str:
    """Of a struct: `requestTimeout` is `request_timeout`."""
    return _MEMBERS[name]


_MEMBERS = {member.encode_name: member.name for member in msgspec.structs.fields(ApiSpec)}
_BUILT_IN = {member.name: member.default for member in msgspec.structs.fields(ApiSpec)}
