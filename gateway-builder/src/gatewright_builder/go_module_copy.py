"""A Go policy's module under the module path of this build: so two versions of one policy live side by side."""

from __future__ import annotations

import re

from gatewright_builder.go_mod import go_of, module_of, read_go_mod, required, written
from gatewright_builder.policy import Policy
from gatewright_builder.registry_files import go_package
from gatewright_builder.tree import Tree, tree_digest


def moved_module(policy: Policy) -> Tree:
    """The policy's sources with its own module path replaced, in go.mod and in imports.

    Of its go.mod the Go version and the requirements are left: policies and engine are compiled in one workspace, where
    all else that one of them says (replace, exclude) would hold for all.
    """
    directives, new = read_go_mod(policy.sources["go.mod"]), go_package(policy)
    old = module_of(directives)
    moved = {
        file: _moved_imports(content, old, new) for file, content in policy.sources.items() if file.endswith(".go")
    }
    return policy.sources | moved | {"go.mod": written(new, go_of(directives), required(directives))}


def compiled_digest(policy: Policy) -> str:
    """SHA-256, in hex, over the sources as they are compiled: the same for policies that make the same engine."""
    return tree_digest(moved_module(policy))


def go_version(*go_mods: bytes) -> str:
    """The newest Go version that these go.mod files ask for."""
    versions = [version for go_mod in go_mods if (version := go_of(read_go_mod(go_mod)))]
    return max(versions, key=lambda version: [int(part) for part in re.findall(r"\d+", version)])


def _moved_imports(content: bytes, old: str, new: str) -> bytes:
    """An import stands alone on its line: with or without `import`, with or without a name, a comment behind it."""
    start, path, end = rb"^([ \t]*(?:import[ \t]+)?(?:[\w.]+[ \t]+)?)", rb'(/[^"\n]*)?"', rb"([ \t]*(?:;|//.*)?\r?)$"
    line = re.compile(start + b'"' + re.escape(old.encode()) + path + end, re.MULTILINE)
    return line.sub(rb'\1"' + new.encode() + rb'\2"\3', content)
