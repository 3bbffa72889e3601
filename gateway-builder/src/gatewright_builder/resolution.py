"""One lock for each group: the packages of its policies and of its executor, resolved by uv, with hashes.

Where they do not go together, the policies that cannot share an environment are found and named.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations, islice
from pathlib import Path
from tempfile import TemporaryDirectory

from gatewright_builder.events import Say, step
from gatewright_builder.lock_file import GroupPin
from gatewright_builder.mistake import BuildError, Mistake, Mistakes
from gatewright_builder.policy import Policy, groups
from gatewright_builder.requirements import APART, OWN, REQUIREMENTS_FILE, Ask, merge_requirements, policy_asks
from gatewright_builder.tree import text_digest
from gatewright_builder.uv_command import UvError, uv

PYTHON = ".".join(platform.python_version_tuple()[:2])
MAX_PAIRS = 45
PLAIN = ("--no-header", "--no-annotate", "--python", sys.executable)


@dataclass(frozen=True, slots=True)
class Group:
    """An executor group, resolved: its Python policies, what they and the executor ask for, and the hashed lock."""

    name: str
    policies: tuple[Policy, ...]
    requirements: str
    pin: GroupPin


def resolve(
    policies: tuple[Policy, ...], executor: tuple[Ask, ...], pins: Mapping[str, GroupPin], say: Say
) -> tuple[Group, ...]:
    """All groups, sorted by name. A pin that was made for the same requirements holds. Raises BuildError."""
    mistakes, made = Mistakes(), []
    for name, members in groups(policies).items():
        with mistakes.gather():
            requirements = merge_requirements(executor, members)
            pin = _pinned(requirements, pins.get(name))
            if pin is None:
                with step(say, f"resolving what the group {name} needs"):
                    pin = _resolve(name, members, executor, requirements, pins.get(name))
            made.append(Group(name, members, requirements, pin))
    if mistakes.found:
        raise BuildError(mistakes.found)
    return tuple(made)


def _pinned(requirements: str, pin: GroupPin | None) -> GroupPin | None:
    return pin if pin and pin.asked == _asked(requirements) else None


def _asked(requirements: str) -> str:
    plain = "\n".join(line.split("  # ")[0] for line in requirements.splitlines())
    return text_digest(plain, PYTHON)


def _resolve(
    name: str, policies: tuple[Policy, ...], executor: tuple[Ask, ...], requirements: str, before: GroupPin | None
) -> GroupPin:
    """Versions of the pin before are kept where they still fit."""
    with TemporaryDirectory() as folder:
        lock = Path(folder) / "requirements.lock"
        if before:
            lock.write_text(before.text)
        try:
            uv("pip", "compile", "-", "--universal", "--python-version", PYTHON, "--generate-hashes", *PLAIN,
               "--output-file", lock, stdin=requirements)  # fmt: skip
        except UvError as error:
            raise BuildError(_blame(name, policies, executor, error)) from error
        return GroupPin(_asked(requirements), lock.read_text().splitlines())


def _blame(name: str, policies: tuple[Policy, ...], executor: tuple[Ask, ...], error: UvError) -> list[Mistake]:
    """Who: a policy that does not even fit alone, a pair that does not fit together, else what uv said of the group."""
    if error.unsolvable:
        if alone := [mistake for policy in policies for mistake in _alone(policy, executor)]:
            return alone
        if pairs := [
            mistake for pair in islice(combinations(policies, 2), MAX_PAIRS) for mistake in _pair(pair, executor)
        ]:
            return pairs
    cure = "change what the policies ask for, or give the build its package index in the environment (UV_DEFAULT_INDEX)"
    return [
        Mistake(f"{REQUIREMENTS_FILE} of the group {name}", "packages that can be installed together", str(error), cure)
    ]


def _alone(policy: Policy, executor: tuple[Ask, ...]) -> Iterator[Mistake]:
    if said := _unsolvable((policy,), executor):
        if _unsolvable((policy,), ()):
            expected, cure = "packages that exist and go together", "change what it asks for"
        else:
            wants = ", ".join(str(ask.requirement) for ask in executor if ask.name not in OWN)
            expected = f"packages that go together with the executor's own {wants}"
            cure = "ask for others: every group needs those, so no group helps"
        yield _mistake(policy, expected, said, cure)


def _pair(pair: tuple[Policy, ...], executor: tuple[Ask, ...]) -> Iterator[Mistake]:
    if said := _unsolvable(pair, executor):
        got = ", ".join(f"{policy.key} wants {_wants(policy)}" for policy in pair)
        yield _mistake(pair[-1], "packages that go together in a group", f"{got} ({said})", APART)


def _unsolvable(policies: tuple[Policy, ...], executor: tuple[Ask, ...]) -> str:
    """What uv says against them; "" if nothing."""
    try:
        requirements = merge_requirements(executor, policies)
        uv("pip", "compile", "-", "--universal", "--python-version", PYTHON, *PLAIN, stdin=requirements)
    except UvError as error:
        return str(error) if error.unsolvable else ""
    return ""


def _wants(policy: Policy) -> str:
    return ", ".join(str(ask.requirement) for ask in policy_asks(policy)) or "nothing"


def _mistake(policy: Policy, expected: str, got: str, cure: str) -> Mistake:
    """At the line that asks, where there is but one."""
    asks = list(policy_asks(policy))
    file = asks[0].file if asks else policy.shown
    return Mistake(file, expected, got, cure, asks[0].line if len(asks) == 1 else None)
