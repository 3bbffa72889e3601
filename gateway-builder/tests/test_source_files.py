from __future__ import annotations

from pathlib import Path

from gatewright_builder.source_files import collect_go_source_files, collect_python_source_files
from gatewright_builder.tree import write_tree


def test_go_sources_are_all_but_tests_and_hidden_files(tmp_path: Path) -> None:
    own = ["go.mod", "go.sum", "policy.go", "inner/rules.json", "testing.go"]
    others = ["policy_test.go", "testdata/a.go", "inner/testdata/b", ".git/config"]
    write_tree(dict.fromkeys(own + others, b""), tmp_path)
    assert sorted(collect_go_source_files(tmp_path)) == sorted(own)


def test_python_sources_are_all_but_tests_caches_and_hidden_files(tmp_path: Path) -> None:
    own = ["policy.py", "words.txt", "inner/tests.py", "inner/tests/data.json", "contest.py"]
    others = ["test_policy.py", "policy_test.py", "conftest.py", "inner/conftest.py", "tests/data.json", ".env"]
    write_tree(dict.fromkeys([*own, *others, "__pycache__/policy.pyc"], b""), tmp_path)
    assert sorted(collect_python_source_files(tmp_path)) == sorted(own)
