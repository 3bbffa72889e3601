"""Which files of a policy's folder are its sources, by its language."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from gatewright_builder.go_mod import GO_MOD, GO_SUM, go_of, module_of, read_go_mod, required, written
from gatewright_builder.tree import Tree, is_cache, read_tree


def collect_go_source_files(folder: Path) -> Tree:
    """All files of the policy, without tests and hidden files. Where it is a package of the module around it: with a
    go.mod of its own path, and that module's Go version and requirements; and with that module's go.sum.
    """
    return _ofmodule_around(folder) | read_tree(folder, _is_no_go_source)


def module_around(folder: Path) -> Path | None:
    """The folder of the module that a policy without a go.mod is a package of: that of the nearest go.mod above."""
    if (folder / GO_MOD).is_file():
        return None
    return next((parent for parent in folder.parents if (parent / GO_MOD).is_file()), None)


def _ofmodule_around(folder: Path) -> Tree:
    module = module_around(folder)
    if module is None:
        return {}
    directives = read_go_mod((module / GO_MOD).read_bytes())
    path = f"{module_of(directives)}/{folder.relative_to(module).as_posix()}"
    sums = {GO_SUM: (module / GO_SUM).read_bytes()} if (module / GO_SUM).is_file() else {}
    return {GO_MOD: written(path, go_of(directives), required(directives))} | sums


def _is_no_go_source(path: PurePosixPath) -> bool:
    return "testdata" in path.parts or path.match("*_test.go") or is_cache(path)


def collect_python_source_files(folder: Path) -> Tree:
    """All files of the policy: modules and what they read; without tests, caches and hidden files."""
    return read_tree(folder, _is_no_python_source)


def _is_no_python_source(path: PurePosixPath) -> bool:
    is_test = path.parts[0] == "tests" or path.name == "conftest.py" or path.match("test_*.py")
    return is_test or path.match("*_test.py") or is_cache(path)
