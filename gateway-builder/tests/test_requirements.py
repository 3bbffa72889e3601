"""Merging: what comes out asks for all that went in, whatever the order."""

from __future__ import annotations

from pathlib import Path

import pytest
from gatewright_builder.mistake import BuildError
from gatewright_builder.requirements import Requirement, executor_requirements, merge_requirements
from gatewright_builder.sources import Sources
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement as Pep508
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

NAMES = st.sampled_from(["colour", "Colour", "tiny-rpc", "tiny_rpc", "words[fast]", "words[slow]"])
VERSIONS = st.sampled_from(["", ">=1", ">=1.5,<4", "!=2", "<3", "~=1.2"])
MARKERS = st.sampled_from(["", ' ; python_version >= "3.0"', ' ; sys_platform == "elsewhere"'])
TEXTS = st.lists(st.builds(lambda *parts: "".join(parts), NAMES, VERSIONS, MARKERS), max_size=8)


def requirements(*texts: str) -> tuple[Requirement, ...]:
    return tuple(Requirement(Pep508(text), f"owner-{index}", "file") for index, text in enumerate(texts))


def lines(merged: str) -> list[Pep508]:
    return [Pep508(line.split("  # ")[0]) for line in merged.splitlines() if not line.startswith("#")]


@given(TEXTS)
def test_the_merged_file_admits_what_all_that_ask_admit(texts: list[str]) -> None:
    merged = lines(merge_requirements(requirements(*texts), ()))
    for name in {canonicalize_name(Pep508(text).name) for text in texts}:
        before = [requirement for requirement in map(Pep508, texts) if canonicalize_name(requirement.name) == name]
        after = [line for line in merged if line.name == name]
        assert {str(requirement.marker) for requirement in before} == {str(line.marker) for line in after}
        for version in ("0.9", "1", "1.2", "1.5", "2", "2.5", "3", "5"):
            assert _admits(before, version) == _admits(after, version), (version, after)
        assert {extra for requirement in before for extra in requirement.extras} == {
            extra for line in after for extra in line.extras
        }


def _admits(requirements_of_name: list[Pep508], version: str) -> bool:
    return all(version in requirement.specifier for requirement in requirements_of_name)


@given(TEXTS, st.randoms())
def test_the_order_of_policies_does_not_matter(texts: list[str], random: st.RandomGenerator) -> None:  # type: ignore[name-defined]
    shuffled = random.sample(texts, len(texts))
    assert lines(merge_requirements(requirements(*texts), ())) == lines(merge_requirements(requirements(*shuffled), ()))


def test_a_conflict_names_every_policy_that_takes_part() -> None:
    with pytest.raises(BuildError) as caught:
        merge_requirements(requirements("colour==1", "words", "Colour==2", "colour>0"), ())
    assert (
        "owner-0 wants colour==1, owner-2 wants Colour==2, owner-3 wants colour>0; put one of them in a group"
        in str(caught.value)
    )


def test_a_conflict_on_another_platform_is_ignored() -> None:
    merge_requirements(requirements("colour==1", 'colour==2 ; sys_platform == "elsewhere"'), ())


def test_the_base_is_what_the_executor_asks_for_and_its_own_packages_are_never_installed(product: Path) -> None:
    base = executor_requirements(Sources(product))
    assert [str(requirement.parsed) for requirement in base] == ["tiny-rpc>=1.2", "gatewright-sdk==0.1.0"]
    assert [line.name for line in lines(merge_requirements(base, ()))] == ["tiny-rpc"]
    assert SpecifierSet(">=1.2") == lines(merge_requirements(base, ()))[0].specifier
