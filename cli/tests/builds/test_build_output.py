from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest
from gatewright_cli.builds.build_output import BuildOutputError, Group, load

GO = {"name": "log-message", "version": "v1.0.0", "runtime": "go", "group": "", "definition": {}}
PYTHON = {"name": "add-python-header", "version": "v1.0.0", "runtime": "python", "group": "default"}
GROUPS = {
    "slow": {"python": "python-env/slow/bin/python", "registry": "python-executor/slow.py"},
    "default": {"python": "python-env/default/bin/python", "registry": "python-executor/python_policy_registry.py"},
}


def output(folder: Path, *policies: Mapping[str, object], groups: object = None, files: Iterable[str] = ()) -> Path:
    content = {"version": 1, "policies": policies, "groups": groups or {}}
    (folder / "manifest.json").write_text(json.dumps(content))
    for file in ("bin/policy-engine", *files):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).touch()
    return folder


def test_without_python_policies_there_is_no_group(tmp_path: Path) -> None:
    assert load(output(tmp_path, GO)).groups == ()


def test_groups_of_python_policies(tmp_path: Path) -> None:
    files = ["python-executor/main.py", *(file for group in GROUPS.values() for file in group.values())]
    made = output(tmp_path, GO, {**PYTHON, "group": "slow"}, PYTHON, groups=GROUPS, files=files)
    policies = ("add_python_header_v1_0_0",)
    assert load(made).groups == (
        Group("default", made / GROUPS["default"]["python"], made / GROUPS["default"]["registry"], policies=policies),
        Group("slow", made / GROUPS["slow"]["python"], made / GROUPS["slow"]["registry"], policies=policies),
    )


def test_missing_files_are_named(tmp_path: Path) -> None:
    lacks = "lacks python-executor/main.py, python-env/slow/bin/python, python-executor/slow.py: make it again"
    with pytest.raises(BuildOutputError, match=lacks):
        load(output(tmp_path, PYTHON, groups={"slow": GROUPS["slow"]}))


@pytest.mark.parametrize("content", ["", "[]", '{"version": 1}'])
def test_no_build_output(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(
        BuildOutputError, match=r"is no build output \(manifest.json: .*make one with `gatewright build`"
    ):
        load(tmp_path)
