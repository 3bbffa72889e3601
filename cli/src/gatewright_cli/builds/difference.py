"""The differences between two builds, as far as a running node has to take them over."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from gatewright_cli.builds.build_output import BuildOutput


@dataclass(frozen=True)
class Difference:
    """policies: NAME:VERSION of each changed one, followed by "new" or "gone" if it is that. restarts: groups that need
    new processes; keeps: groups that do not. definitions: whether a policy is new, gone, or has another definition.
    module: whether the engine inside Envoy is another one.
    """

    policies: tuple[str, ...] = ()
    restarts: tuple[str, ...] = ()
    keeps: tuple[str, ...] = ()
    definitions: bool = False
    module: bool = False

    def __bool__(self) -> bool:
        """Whether there is any difference."""
        return bool(self.policies or self.restarts or self.module)


class _Policy(msgspec.Struct):
    name: str
    version: str
    source_digest: str = msgspec.field(default="", name="sourceDigest")
    definition_digest: str = msgspec.field(default="", name="definitionDigest")
    group: str = ""


class _Manifest(msgspec.Struct):
    policies: list[_Policy]


def difference(before: BuildOutput, after: BuildOutput) -> Difference:
    """How `after` differs from `before`."""
    old, new = _policies(before), _policies(after)
    policies = [
        f"{key} new" if key not in old else f"{key} gone" if key not in new else key
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]
    same = {group.content: group.name for group in before.groups if group.content}
    keeps = [group.name for group in after.groups if same.get(group.content) == group.name]
    gone = {group.name for group in before.groups} - {group.name for group in after.groups}
    restarts = sorted({group.name for group in after.groups} - set(keeps) | gone)
    changed = _definitions(old) != _definitions(new)
    return Difference(
        tuple(policies), tuple(restarts), tuple(keeps), changed, before.module_digest != after.module_digest
    )


def _definitions(policies: dict[str, _Policy]) -> dict[str, str]:
    return {key: policy.definition_digest for key, policy in policies.items()}


def _policies(build: BuildOutput) -> dict[str, _Policy]:
    content = msgspec.json.decode(build.manifest.read_bytes(), type=_Manifest)
    return {f"{policy.name}:{policy.version}": policy for policy in content.policies}
