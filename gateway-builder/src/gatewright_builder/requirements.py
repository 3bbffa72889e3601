"""What the Python policies of a group and the executor need, in one environment: merged, or refused by name."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from gatewright_documents.mistake import Mistake
from packaging.requirements import InvalidRequirement
from packaging.requirements import Requirement as Pep508
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from gatewright_builder.mistake import refuse_if_any
from gatewright_builder.policy import Policy
from gatewright_builder.sources import Sources

REQUIREMENTS_FILE = "requirements.txt"
OWN = ("gatewright-executor", "gatewright-sdk")  # copied from the source tree, so never installed
EXECUTOR_OWNERS = ("gatewright-executor", "this source tree")
APART = "put one of them in a group of its own (group: in build.yaml)"
HEADER = "# Merged by gatewright build from what the executor and the policies ask for."


@dataclass(frozen=True, slots=True)
class Requirement:
    """One requirement and whose it is: `owner` is a policy's NAME:VERSION or gatewright-executor."""

    parsed: Pep508
    owner: str
    file: str
    line: int | None = None

    @property
    def name(self) -> str:
        """The package, in its normal form."""
        return canonicalize_name(self.parsed.name)

    @property
    def marker(self) -> str:
        """The environment marker, "" without one."""
        return str(self.parsed.marker or "")

    @property
    def is_executors(self) -> bool:
        """Whether the executor, and not a policy, asks for it."""
        return self.owner in EXECUTOR_OWNERS

    @property
    def applies(self) -> bool:
        """Whether it is for this machine."""
        return self.parsed.marker is None or self.parsed.marker.evaluate()


def requirement_mistakes(policy: Policy) -> Iterator[Mistake]:
    """What is no plain requirement in a policy's requirements.txt, and in its entry of build.yaml."""
    expected = "a requirement such as httpx>=0.27"
    for line, text in _lines(policy):
        if not _is_plain(text):
            cure = "write a name and versions: options and addresses are the operator's"
            yield policy.mistake(REQUIREMENTS_FILE, expected, text, cure, line)
    for text in policy.entry.requirements:
        if not _is_plain(text):
            cure = "write a name and versions: the index comes from the environment (UV_INDEX, UV_FIND_LINKS)"
            yield Mistake.in_file(policy.entry.file, expected, text, cure, policy.entry.line)


def _is_plain(text: str) -> bool:
    try:
        return Pep508(text).url is None
    except InvalidRequirement:
        return False


def executor_requirements(sources: Sources) -> tuple[Requirement, ...]:
    """The executor's own requirements, and the SDK at the version of the source tree."""
    project = tomllib.loads(sources.executor_project.read_text())["project"]
    version = tomllib.loads(sources.sdk_project.read_text())["project"]["version"]
    requirements = [
        Requirement(Pep508(text), "gatewright-executor", "gatewright-executor") for text in project["dependencies"]
    ]
    sdk = Requirement(Pep508(f"gatewright-sdk=={version}"), "this source tree", "gatewright-sdk")
    return (*(requirement for requirement in requirements if requirement.name not in OWN), sdk)


def merge_requirements(base: tuple[Requirement, ...], policies: tuple[Policy, ...]) -> str:
    """The merged requirements.txt: a sorted line per package, with the policies that ask for it. Raises BuildError."""
    by_name = _by_name(base, policies)
    refuse_if_any(mistake for requirements in by_name for mistake in _conflict(requirements))
    lines = [
        line for requirements in by_name if requirements[0].name not in OWN for line in _merged_lines(requirements)
    ]
    return "\n".join([HEADER, *lines, ""])


def conflicts(base: tuple[Requirement, ...], policies: tuple[Policy, ...]) -> Iterator[Mistake]:
    """What a merge would refuse: packages of which no version suits all policies of a group and its executor."""
    for requirements in _by_name(base, policies):
        yield from _conflict(requirements)


def _by_name(base: tuple[Requirement, ...], policies: tuple[Policy, ...]) -> list[list[Requirement]]:
    requirements = sorted(
        [*base, *(requirement for policy in policies for requirement in policy_requirements(policy))],
        key=lambda requirement: requirement.name,
    )
    return [list(same) for _, same in groupby(requirements, key=lambda requirement: requirement.name)]


def policy_requirements(policy: Policy) -> Iterator[Requirement]:
    """What a policy asks for, in requirements.txt and its package's METADATA, and what build.yaml adds; what is no
    requirement is left out."""
    for line, text in _lines(policy):
        if _is_plain(text):
            yield Requirement(Pep508(text), policy.key, f"{policy.shown}/{REQUIREMENTS_FILE}", line)
    for text in policy.origin.requires:
        if _is_plain(text):
            yield Requirement(Pep508(text), policy.key, f"{policy.shown}/{policy.origin.requires_file}")
    for text in policy.entry.requirements:
        if _is_plain(text):
            yield Requirement(Pep508(text), policy.key, policy.entry.file, policy.entry.line)


def _lines(policy: Policy) -> Iterator[tuple[int, str]]:
    text = policy.sources.get(REQUIREMENTS_FILE, b"").decode(errors="replace")
    for number, line in enumerate(text.splitlines(), 1):
        content = line.split(" #")[0].strip()
        if content and not content.startswith("#"):
            yield number, content


def _conflict(requirements: list[Requirement]) -> Iterator[Mistake]:
    here = [requirement for requirement in requirements if requirement.applies]
    if SpecifierSet(",".join(str(requirement.parsed.specifier) for requirement in here)).is_unsatisfiable():
        got = ", ".join(f"{requirement.owner} wants {requirement.parsed}" for requirement in here)
        yield Mistake.in_file(
            here[-1].file, f"one version of {here[-1].name} that suits all", got, _cure(here), here[-1].line
        )


def _cure(requirements: list[Requirement]) -> str:
    """Groups part policies from each other, never from the executor or from themselves."""
    executors = [requirement.parsed.specifier for requirement in requirements if requirement.is_executors]
    if any(
        SpecifierSet(f"{requirement.parsed.specifier},{own}").is_unsatisfiable()
        for own in executors
        for requirement in requirements
    ):
        return "ask for what the executor can run with: every group needs it, so no group helps"
    if len({requirement.owner for requirement in requirements}) == 1:
        return "change one of them: the policy itself asks for both"
    return APART


def _merged_lines(requirements: list[Requirement]) -> Iterator[str]:
    for marker in sorted({requirement.marker for requirement in requirements}):
        group = [requirement for requirement in requirements if requirement.marker == marker]
        extras = ",".join(sorted({extra for requirement in group for extra in requirement.parsed.extras}))
        versions = sorted({str(part) for requirement in group for part in requirement.parsed.specifier})
        owners = ", ".join(dict.fromkeys(requirement.owner for requirement in group))
        name = f"{group[0].name}[{extras}]" if extras else group[0].name
        yield f"{name}{','.join(versions)}{f' ; {marker}' if marker else ''}  # {owners}"
