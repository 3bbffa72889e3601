"""Bad input is a folder: testdata/NAME.bad, and in it expected.txt, the sentences that its author reads."""

from __future__ import annotations

from pathlib import Path

import pytest
from gatewright.definition import Runtime
from gatewright_builder.discovery import discover
from gatewright_builder.fetching.location import locate
from gatewright_builder.manifest import read_manifest
from gatewright_builder.mistake import BuildError
from gatewright_builder.policy import Policy
from gatewright_builder.requirements import executor_requirements
from gatewright_builder.sources import Sources
from gatewright_builder.validation import validate

TESTDATA = Path(__file__).parent / "testdata"
BAD = sorted(TESTDATA.glob("*.bad"))


@pytest.mark.parametrize("case", BAD, ids=lambda case: case.stem)
def test_bad_input_is_refused_with_its_sentences(case: Path, product: Path, update: bool) -> None:
    with pytest.raises(BuildError) as caught:
        read_policies(case / "build.yaml", Sources(product))
    sentences, expected = f"{caught.value}\n", case / "expected.txt"
    if update:
        expected.write_text(sentences)
    assert sentences == expected.read_text()


def read_policies(manifest: Path, sources: Sources) -> tuple[Policy, ...]:
    return validate(discover(locate(read_manifest(manifest), product=sources)), executor_requirements(sources))


def test_policies_are_sorted_by_name_and_by_version_as_numbers(product: Path) -> None:
    policies = read_policies(TESTDATA / "mixed.build" / "build.yaml", Sources(product))
    assert [policy.key for policy in policies] == [
        "add-headers:v1.9.0",
        "add-headers:v1.10.0",
        "paint:v1.0.0",
        "paint:v2.0.0",
    ]


def test_a_file_path_leads_to_python_where_the_definition_says_so(product: Path) -> None:
    policies = read_policies(TESTDATA / "mixed.build" / "build.yaml", Sources(product))
    assert {policy.name: policy.runtime for policy in policies} == {
        "add-headers": Runtime.GO,
        "paint": Runtime.PYTHON,
    }
