"""How the policies of an operation differ, in phrases; exact versions are named, parameters are not shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from gatewright_controller.translate import PolicySummary

Key = tuple[str, bool, int]
"""Policy, whether it is a shadow, and how many of it stand before."""


def policy_differences(before: Sequence[PolicySummary], after: Sequence[PolicySummary]) -> Iterator[str]:
    """Each ends so that "on GET /items" can follow."""
    old, new = _keyed(before), _keyed(after)
    for key, policy in new.items():
        if key not in old:
            yield f"policy {policy} runs"
        elif old[key].version != policy.version:
            yield f"policy {policy.name} {old[key].version} → {policy.version}"
        if key in old and old[key].settings != policy.settings:
            yield f"policy {policy} has other parameters or settings"
    yield from (f"policy {policy} no longer runs" for key, policy in old.items() if key not in new)
    if [key for key in old if key in new] != [key for key in new if key in old]:
        yield f"policies run in another order ({', '.join(policy.name for policy in after)})"


def _keyed(policies: Sequence[PolicySummary]) -> Mapping[Key, PolicySummary]:
    seen: Counter[tuple[str, bool]] = Counter()
    keyed: dict[Key, PolicySummary] = {}
    for policy in policies:
        kind = (policy.name, policy.shadow)
        keyed[*kind, seen[kind]] = policy
        seen[kind] += 1
    return keyed
