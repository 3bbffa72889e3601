from __future__ import annotations

from pathlib import Path

import pytest
from gatewright_cli.builds.registry import Registry, read_registry

GENERATED = '''"""Generated."""

PYTHON_POLICIES: dict[str, str] = {
    "greet:v1.0.0": "policies.greet_v1_0_0.policy",
    "other:v1.0.0": "policies.other_v1_0_0.policy",
}
POLICY_SOURCES: dict[str, str] = {
    "greet_v1_0_0": "policies/greet",
    "other_v1_0_0": "../other",
}
'''


def test_a_generated_registry_is_read_and_a_part_of_it_is_a_registry_too(tmp_path: Path) -> None:
    file = tmp_path / "registry.py"
    file.write_text(GENERATED)
    part = read_registry(file).only({"other:v1.0.0"})
    assert part == Registry({"other:v1.0.0": "policies.other_v1_0_0.policy"}, {"other_v1_0_0": "../other"})
    file.write_text(part.text())
    assert read_registry(file) == part


@pytest.mark.parametrize("text", ["", "PYTHON_POLICIES = [1]", "PYTHON_POLICIES = open('x')"])
def test_any_other_text_is_no_registry(tmp_path: Path, text: str) -> None:
    file = tmp_path / "registry.py"
    file.write_text(text)
    with pytest.raises(ValueError, match=r"."):
        read_registry(file)
