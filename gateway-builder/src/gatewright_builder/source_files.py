"""Which files of a policy's folder are its sources, by its language."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from gatewright_builder.tree import Tree, is_cache, read_tree


def collect_go_source_files(folder: Path) -> Tree:
    """All files of the module; without tests and hidden files."""
    return read_tree(folder, _is_no_go_source)


def _is_no_go_source(path: PurePosixPath) -> bool:
    return "testdata" in path.parts or path.match("*_test.go") or is_cache(path)


def collect_python_source_files(folder: Path) -> Tree:
    """All files of the policy: modules and what they read; without tests, caches and hidden files."""
    return read_tree(folder, _is_no_python_source)


def _is_no_python_source(path: PurePosixPath) -> bool:
    is_test = path.parts[0] == "tests" or path.name == "conftest.py" or path.match("test_*.py")
    return is_test or path.match("*_test.py") or is_cache(path)
