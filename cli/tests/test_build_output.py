from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from gatewright_cli.build_output import BuildOutputError, load

GO = {"name": "log-message", "version": "v1.0.0", "runtime": "go", "group": "", "definition": {}}
PYTHON = {"name": "add-python-header", "version": "v1.0.0", "runtime": "python", "group": "default"}


def output(folder: Path, *policies: Mapping[str, object], files: tuple[str, ...] = ("bin/policy-engine",)) -> Path:
    (folder / "manifest.json").write_text(json.dumps({"version": 1, "policies": policies}))
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).touch()
    return folder


def test_without_python_policies_there_is_no_group(tmp_path: Path) -> None:
    assert load(output(tmp_path, GO)).groups == ()


def test_groups_of_python_policies(tmp_path: Path) -> None:
    files = ("bin/policy-engine", "python-executor/main.py", "python-env/bin/python")
    made = output(tmp_path, GO, {**PYTHON, "group": "slow"}, PYTHON, {**PYTHON, "version": "v2.0.0"}, files=files)
    assert load(made).groups == ("default", "slow")


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(BuildOutputError, match=r"lacks python-executor/main.py, python-env/bin/python: make it again"):
        load(output(tmp_path, PYTHON))


@pytest.mark.parametrize("content", ["", "[]", '{"version": 1}'])
def test_no_build_output(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(
        BuildOutputError, match=r"is no build output \(manifest.json: .*make one with `gatewright build`"
    ):
        load(tmp_path)
