"""A Go policy's module under the module path of this build: so two versions of one policy live side by side."""

from __future__ import annotations

import re

from gatewright_builder.go_source import LOCAL_REPLACE, MODULE_LINE, module_path
from gatewright_builder.policy import Policy
from gatewright_builder.registry import go_package
from gatewright_builder.tree import Tree

GO_LINE = re.compile(rb"^go[ \t]+(\d+(?:\.\d+)*)", re.MULTILINE)


def moved_module(policy: Policy) -> Tree:
    """The policy's sources with its own module path replaced, in go.mod and in imports."""
    old, new = module_path(policy), go_package(policy)
    moved = {
        file: _moved_imports(content, old, new) for file, content in policy.sources.items() if file.endswith(".go")
    }
    return policy.sources | moved | {"go.mod": _moved_go_mod(policy.sources["go.mod"], new)}


def go_version(*go_mods: bytes) -> str:
    """The newest Go version that these go.mod files ask for."""
    versions = [found[1].decode() for go_mod in go_mods if (found := GO_LINE.search(go_mod))]
    return max(versions, key=lambda version: [int(part) for part in version.split(".")])


def _moved_go_mod(go_mod: bytes, new: str) -> bytes:
    return MODULE_LINE.sub(f"module {new}".encode(), LOCAL_REPLACE.sub(b"", go_mod), count=1)


def _moved_imports(content: bytes, old: str, new: str) -> bytes:
    """An import stands alone on its line: with or without `import`, with or without a name, a comment behind it."""
    start, path, end = rb"^([ \t]*(?:import[ \t]+)?(?:[\w.]+[ \t]+)?)", rb'(/[^"\n]*)?"', rb"([ \t]*(?:;|//.*)?\r?)$"
    line = re.compile(start + b'"' + re.escape(old.encode()) + path + end, re.MULTILINE)
    return line.sub(rb'\1"' + new.encode() + rb'\2"\3', content)
