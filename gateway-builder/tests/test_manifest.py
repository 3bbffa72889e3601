from __future__ import annotations

from pathlib import Path

import pytest
from gatewright_builder.manifest import Manifest, read_manifest
from gatewright_builder.mistake import BuildError
from gatewright_builder.origin import Kind

EVERY_KIND = """version: v1
sdists: [Acme_Tokens, zebra]
policies:
  - name: local
    filePath: policies/local
    group: slow
    requirements: [acme-words>=1]
  - name: limit
    gomodule: example.com/policies/limit@v1.2.0
    replace: ../limit
  - name: fetched
    pythonmodule: github.com/org/repo/policies/fetched@v1.2.0
  - name: packed
    pipPackage: acme-limit ~=1.2, !=1.2.5
  - name: log-message
"""


def read(folder: Path, text: str) -> Manifest:
    (folder / "build.yaml").write_text(text)
    return read_manifest(folder / "build.yaml")


def test_every_kind_of_source_is_read_with_its_line(tmp_path: Path) -> None:
    manifest = read(tmp_path, EVERY_KIND)
    assert manifest.mistakes == ()
    assert manifest.sdists == ("acme-tokens", "zebra")
    assert [(entry.name, entry.kind, entry.line) for entry in manifest.entries] == [
        ("local", Kind.FILE_PATH, 4),
        ("limit", Kind.GO_MODULE, 8),
        ("fetched", Kind.PYTHON_MODULE, 11),
        ("packed", Kind.PIP_PACKAGE, 13),
        ("log-message", Kind.SHIPPED, 15),
    ]
    local, module, *_ = manifest.entries
    assert (local.group, local.local, module.local) == ("slow", "policies/local", "../limit")
    assert (local.requirements, module.requirements) == (("acme-words>=1",), ())
    assert module.key == "gomodule example.com/policies/limit@v1.2.0"


def test_right_entries_are_read_beside_wrong_ones(tmp_path: Path) -> None:
    manifest = read(tmp_path, "version: v1\npolicies:\n  - name: A\n    filePath: a\n  - name: b\n    filePath: b\n")
    assert [entry.name for entry in manifest.entries] == ["b"]
    assert [(mistake.file, mistake.line, mistake.field) for mistake in manifest.mistakes] == [
        ("build.yaml", 3, "policies[0].name")
    ]


@pytest.mark.parametrize(
    ("source", "is_right"),
    [
        ("gomodule: example.com/limit@v1.2.0", True),
        ("gomodule: example.com/~a/limit@latest", True),
        ("gomodule: example.com/limit", False),
        ("gomodule: example.com/limit@v1 x", False),
        ("pythonmodule: github.com/org/repo@main", True),
        ("pythonmodule: github.com/org/repo/a/b.c@feature/x", True),
        ("pythonmodule: github.com/org@v1", False),
        ("pythonmodule: github.com/org/repo/./a@v1", False),
        ("pythonmodule: github.com/org/repo/..@v1", False),
        ("pythonmodule: github.com/org/repo/..a@v1", True),
        ("pythonmodule: github.com/org/repo@../v1", False),
        ("pythonmodule: github.com/org/repo@a..b", False),
        ("pythonmodule: github.com/org/repo@-v1", False),
        ("pipPackage: acme==1.2.0", True),
        ("pipPackage: acme>=1,<2", True),
        ("pipPackage: acme===1.2", True),
        ("pipPackage: acme", False),
        ("pipPackage: acme[extra]==1", False),
        ("pipPackage: acme==1 ; python_version > '3'", False),
    ],
)
def test_a_source_is_what_a_fetcher_can_be_given(tmp_path: Path, source: str, is_right: bool) -> None:
    manifest = read(tmp_path, f'version: v1\npolicies:\n  - name: a\n    "{source.replace(": ", """": """, 1)}\n')
    assert bool(manifest.entries) == is_right
    assert bool(manifest.mistakes) != is_right


def test_a_manifest_without_policies_is_refused_with_its_cure(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"policies: expected a list of policies, got nothing; write - name: … and"):
        read(tmp_path, "version: v1\n")
    with pytest.raises(
        BuildError, match=r"build\.yaml: expected a file, got no such file; check the path; `gatewright init`"
    ):
        read_manifest(tmp_path / "nowhere" / "build.yaml")


def test_names_in_mistakes_are_relative_to_it(tmp_path: Path) -> None:
    manifest = read(tmp_path, "version: v1\npolicies: []\n")
    assert manifest.shown(tmp_path / "a" / "b") == "a/b"
    assert manifest.shown(tmp_path.parent / "b") == "../b"
