"""A Go policy's sources: which files they are, and whether they are a module that exports GetPolicy."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from gatewright_builder.mistake import Mistake
from gatewright_builder.policy import Policy
from gatewright_builder.tree import Tree, is_cache, read_tree

SDK_MODULE = b"gatewright.dev/sdk"
MODULE_LINE = re.compile(rb'^module[ \t]+"?([^\s"]+)"?[ \t\r]*(?://.*)?$', re.MULTILINE)
PACKAGE_LINE = re.compile(rb"^package[ \t]+(\w+)", re.MULTILINE)
LOCAL_REPLACE = re.compile(rb"^[^\n/]*?([\w.~/-]+)[ \t]*(?:v\S+[ \t]+)?=>[ \t]*\.{0,2}/[^\n]*$", re.MULTILINE)
GET_POLICY = re.compile(rb"^(func GetPolicy\(|var GetPolicy\b)", re.MULTILINE)


def collect_go_source_files(folder: Path) -> Tree:
    """All files of the module; without tests and hidden files."""
    return read_tree(folder, _is_no_source)


def _is_no_source(path: PurePosixPath) -> bool:
    return "testdata" in path.parts or path.match("*_test.go") or is_cache(path)


def module_path(policy: Policy) -> str:
    """The module path that the policy's go.mod names; "" without one."""
    found = MODULE_LINE.search(policy.sources.get("go.mod", b""))
    return found[1].decode() if found else ""


def validate_go_directory_structure(policy: Policy) -> Iterator[Mistake]:
    """go.mod names a module; its root package is no command and has GetPolicy."""
    if not module_path(policy):
        got = "no module line" if "go.mod" in policy.sources else "no such file"
        yield policy.mistake("go.mod", "the policy's Go module", got, "run go mod init in its folder")
    yield from _replace_mistakes(policy)
    package = {file: content for file, content in policy.sources.items() if re.fullmatch(r"[^/]+\.go", file)}
    if not any(GET_POLICY.search(content) for content in package.values()):
        expected = "func GetPolicy(v1alpha.Metadata, v1alpha.Params) (v1alpha.Policy, error)"
        got = "none in its .go files" if package else "no .go file"
        yield Mistake(policy.shown, expected, got, "export one from the module's root package")
    for file, content in package.items():
        found = PACKAGE_LINE.search(content)
        if found and found[1] == b"main":
            line = content[: found.start()].count(b"\n") + 1
            yield policy.mistake(file, "a package that can be imported", "package main", "rename the package", line)


def _replace_mistakes(policy: Policy) -> Iterator[Mistake]:
    """A build compiles a copy of the policy, so no path in its go.mod holds; that of the SDK is known without."""
    content = policy.sources.get("go.mod", b"")
    for found in LOCAL_REPLACE.finditer(content):
        if found[1] != SDK_MODULE:
            line = content[: found.start()].count(b"\n") + 1
            cure = "publish that module, or move it into the policy's own"
            yield policy.mistake("go.mod", "no replacement by a folder", found[0].decode().strip(), cure, line)
