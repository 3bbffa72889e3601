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

from gatewright_documents.mistake import Mistake
from msgspec.structs import replace

from gatewright_builder.events import Say, step
from gatewright_builder.fetching.uv_command import UvError, built_from_source, uv
from gatewright_builder.lock_file import GroupPin
from gatewright_builder.mistake import BuildError, Mistakes
from gatewright_builder.policy import Policy, groups
from gatewright_builder.requirements import (
    APART,
    OWN,
    REQUIREMENTS_FILE,
    Requirement,
    merge_requirements,
    policy_requirements,
)
from gatewright_builder.tree import text_digest

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
    policies: tuple[Policy, ...],
    executor: tuple[Requirement, ...],
    pins: Mapping[str, GroupPin],
    say: Say,
    sdists: tuple[str, ...] = (),
) -> tuple[Group, ...]:
    """All groups, sorted by name. A pin that was made for the same requirements holds. Raises BuildError.

    sdists: the packages, by their normal names, that may be built from their sources; of all others only wheels count.
    """
    mistakes, made = Mistakes(), []
    for name, members in groups(policies).items():
        with mistakes.gather():
            requirements = merge_requirements(executor, members)
            pin = _pinned(requirements, pins.get(name), sdists)
            if pin is None:
                with step(say, f"resolving what the group {name} needs"):
                    pin = _Attempt(name, members, executor, sdists).resolve(requirements, pins.get(name))
            made.append(Group(name, members, requirements, pin))
    if mistakes.found:
        raise BuildError(mistakes.found)
    return tuple(made)


def _pinned(requirements: str, pin: GroupPin | None, sdists: tuple[str, ...]) -> GroupPin | None:
    holds = pin and pin.asked == _requirements_digest(requirements) and pin.sdists == _allowed(sdists, pin)
    return pin if holds else None


def _allowed(sdists: tuple[str, ...], pin: GroupPin) -> list[str]:
    names = pin.names if sdists else set()
    return sorted(name for name in sdists if name in names)


def _requirements_digest(requirements: str) -> str:
    plain = "\n".join(line.split("  # ")[0] for line in requirements.splitlines())
    return text_digest(plain, PYTHON)


@dataclass(frozen=True, slots=True)
class _Attempt:
    """To resolve one group; and to find out whose requirements conflict where that fails."""

    name: str
    policies: tuple[Policy, ...]
    executor: tuple[Requirement, ...]
    sdists: tuple[str, ...]

    def resolve(self, requirements: str, before: GroupPin | None) -> GroupPin:
        """Versions of the pin before are kept where they still fit."""
        with TemporaryDirectory() as folder:
            lock = Path(folder) / "requirements.lock"
            if before:
                lock.write_text(before.text)
            try:
                self._compile(requirements, "--generate-hashes", "--output-file", lock)
            except UvError as error:
                raise BuildError(self._causes(error)) from error
            pin = GroupPin(_requirements_digest(requirements), lock.read_text().splitlines())
        return replace(pin, sdists=_allowed(self.sdists, pin))

    def _compile(self, requirements: str, *options: str | Path) -> None:
        universal = ("--universal", "--python-version", PYTHON, *built_from_source(self.sdists))
        uv("pip", "compile", "-", *universal, *PLAIN, *options, stdin=requirements)

    def _causes(self, error: UvError) -> list[Mistake]:
        """A policy that does not fit alone, a pair that does not fit together, else uv's words on the group."""
        if error.unsolvable:
            if alone := [mistake for policy in self.policies for mistake in self._alone(policy)]:
                return alone
            pairs = islice(combinations(self.policies, 2), MAX_PAIRS)
            if apart := [mistake for pair in pairs for mistake in self._pair(pair)]:
                return apart
        where = f"{REQUIREMENTS_FILE} of the group {self.name}"
        if error.without_wheel:
            return [Mistake.in_file(where, *no_wheel(error))]
        cure = (
            "change what the policies ask for, or give the build its package index in the environment"
            " (UV_DEFAULT_INDEX)"
        )
        return [Mistake.in_file(where, "packages that can be installed together", str(error), cure)]

    def _alone(self, policy: Policy) -> Iterator[Mistake]:
        error = self._unsolvable((policy,), self.executor)
        if error is None:
            return
        if error.without_wheel:
            yield _mistake(policy, *no_wheel(error))
        elif self._unsolvable((policy,), ()):
            yield _mistake(policy, "packages that exist and go together", str(error), "change what it asks for")
        else:
            wants = ", ".join(str(requirement.parsed) for requirement in self.executor if requirement.name not in OWN)
            expected = f"packages that go together with the executor's own {wants}"
            yield _mistake(policy, expected, str(error), "ask for others: every group needs those, so no group helps")

    def _pair(self, pair: tuple[Policy, ...]) -> Iterator[Mistake]:
        if error := self._unsolvable(pair, self.executor):
            wants = [
                ", ".join(str(requirement.parsed) for requirement in policy_requirements(policy)) for policy in pair
            ]
            got = ", ".join(f"{policy.key} wants {own or 'nothing'}" for policy, own in zip(pair, wants, strict=True))
            yield _mistake(pair[-1], "packages that go together in a group", f"{got} ({error})", APART)

    def _unsolvable(self, policies: tuple[Policy, ...], executor: tuple[Requirement, ...]) -> UvError | None:
        """What uv says against them."""
        try:
            self._compile(merge_requirements(executor, policies))
        except UvError as error:
            return error if error.unsolvable else None
        return None


def no_wheel(error: UvError) -> tuple[str, str, str]:
    """What was expected, what there is and the cure, where a package has sources only."""
    names = ", ".join(error.without_wheel)
    cure = (
        f"ask for a version that has one; or let its sources be built, which runs their code on this machine:"
        f" sdists: [{names}] in build.yaml"
    )
    return f"a wheel of {names}", f"none that fits ({error})", cure


def _mistake(policy: Policy, expected: str, got: str, cure: str) -> Mistake:
    """At the line that asks, where there is but one."""
    requirements = list(policy_requirements(policy))
    file = requirements[0].file if requirements else policy.shown
    return Mistake.in_file(file, expected, got, cure, requirements[0].line if len(requirements) == 1 else None)
