"""Runs policies that take long to import in executors of their own while their sources are watched.

Else an edit of one policy would wait for the imports of all others of its group. In a deployment a `group` of its own
does the same; the note says so.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gatewright_cli.builds.registry import read_registry


@dataclass
class Apart:
    """The policies that one run has split off. numbers: of the new groups, by group and policy; they never change."""

    numbers: dict[tuple[str, str], int] = field(default_factory=dict)

    def split(self, content: dict[str, Any], output: Path, target: Path) -> tuple[dict[str, Any], list[str]]:
        """The manifest of a generation at `target`, made from an output's manifest, and notes on the policies that run
        apart from now on. Writes the registries of the groups.
        """
        slow, split, notes = read_slow_imports(output), copy.deepcopy(content), list[str]()
        for group in [*split["groups"]]:
            keys = [_key(policy) for policy in split["policies"] if policy["group"] == group]
            moved = [key for key in keys if key in slow and len(keys) > 1]
            moved = moved[1:] if len(moved) == len(keys) else moved
            if "base" not in split["groups"][group] or not moved:
                continue
            for key in moved:
                if (group, key) not in self.numbers:
                    self.numbers[group, key] = len(self.numbers) + 1
                    notes.append(_note(key, slow[key], group))
            self._split_group(split, group, moved, target)
        return split, notes

    def _split_group(self, split: dict[str, Any], group: str, moved: Sequence[str], target: Path) -> None:
        homes = {key: f"{group}~{self.numbers[group, key]}" for key in moved}
        for policy in split["policies"]:
            if policy["group"] == group:
                policy["group"] = homes.get(_key(policy), group)
        whole = split["groups"][group]
        registry = read_registry(target / whole["registry"])
        for name in (group, *homes.values()):
            members = [policy for policy in split["policies"] if policy["group"] == name]
            own = registry.only({_key(policy) for policy in members})
            file = target / "python-executor" / f"python_policy_registry_{name}.py"
            file.write_text(own.text())
            digest = _digest(whole["base"], whole.get("access"), own.text(), members)
            split["groups"][name] = whole | {"registry": f"python-executor/{file.name}", "digest": digest}


def read_slow_imports(output: Path) -> Mapping[str, float]:
    """Seconds by name:version, as the builder measured them (ARCHITECTURE.md, "Build output")."""
    with contextlib.suppress(OSError, ValueError):
        seconds = json.loads(output.with_name(f".{output.name}.slow-imports.json").read_text())
        return seconds if isinstance(seconds, dict) else {}
    return {}


def _key(policy: Mapping[str, Any]) -> str:
    return f"{policy['name']}:{policy['version']}"


def _digest(base: str, access: object, registry: str, members: Sequence[Mapping[str, Any]]) -> str:
    code = [(_key(policy), policy["sourceDigest"]) for policy in members]
    return hashlib.sha256(json.dumps([base, access, registry, code]).encode()).hexdigest()


def _note(key: str, seconds: float, group: str) -> str:
    name = key.partition(":")[0]
    return (
        f"{key} takes {seconds:.1f} s to import: while its sources are watched it runs in executors of its own, so "
        f"that edits of others in the group {group} do not wait for it; `group: {name}` in build.yaml does so "
        "everywhere"
    )
