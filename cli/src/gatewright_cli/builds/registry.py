"""A group's generated registry (python_policy_registry.py), read without running it."""

from __future__ import annotations

import ast
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Registry:
    """modules: of each policy, by name:version. sources: the policy's folder as build.yaml names it, by the name of the
    folder that it is copied to.
    """

    modules: Mapping[str, str]
    sources: Mapping[str, str]

    def only(self, policies: Collection[str]) -> Registry:
        """The registry of these policies (name:version) alone."""
        modules = {key: module for key, module in self.modules.items() if key in policies}
        folders = {folder_of(module) for module in modules.values()}
        return Registry(modules, {folder: source for folder, source in self.sources.items() if folder in folders})

    def text(self) -> str:
        """The content of the file."""
        return f"PYTHON_POLICIES = {dict(self.modules)!r}\nPOLICY_SOURCES = {dict(self.sources)!r}\n"


def folder_of(module: str) -> str:
    """policies.add_headers_v1_0_0.policy → add_headers_v1_0_0."""
    return module.split(".")[1]


def read_registry(file: Path) -> Registry:
    """Reads a registry. Raises OSError, or ValueError for another kind of file."""
    tree = ast.parse(file.read_text())
    values: dict[str, object] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(target, ast.Name):
                values[target.id] = ast.literal_eval(node.value)
    modules, sources = values.get("PYTHON_POLICIES"), values.get("POLICY_SOURCES", {})
    if not isinstance(modules, dict) or not isinstance(sources, dict):
        raise ValueError(f"{file}: expected PYTHON_POLICIES and POLICY_SOURCES")
    return Registry(modules, sources)
