"""From right policies to the trees that a build output is made of. Pure: the same input gives the same bytes."""

from __future__ import annotations

import os
from pathlib import Path

from sdk.definition import Runtime

from gatewright_builder.go_module import go_version, moved_module
from gatewright_builder.policy import Policy, of_runtime
from gatewright_builder.registry import BUILD_MODULE, plugin_registry, python_policy_registry, template
from gatewright_builder.sources import Sources
from gatewright_builder.tree import Tree, below, read_tree

REGISTRY_FILE = "python_policy_registry.py"
MAIN_FILE = "main.py"
KEEP_FILE = ".keep"


def generate_engine(policies: tuple[Policy, ...], sources: Sources, folder: Path) -> Tree:
    """policy-engine/: a Go workspace of main.go, plugin_registry.go, copies of the Go policies, the engine and its SDK.

    `folder` is where the tree will stand: go.work names the engine's and the SDK's sources relative to it.
    """
    go_policies = of_runtime(policies, Runtime.GO)
    product = (sources.engine, sources.go_sdk)
    modules = [".", *(f"./policies/{policy.identifier}" for policy in go_policies)]
    modules += [Path(os.path.relpath(path, folder)).as_posix() for path in product]
    go = go_version(
        *((path / "go.mod").read_bytes() for path in product), *(policy.sources["go.mod"] for policy in go_policies)
    )
    tree = {
        "main.go": template("main.go.tmpl").substitute().encode(),
        "plugin_registry.go": plugin_registry(policies).encode(),
        "go.mod": template("go.mod.tmpl").substitute(module=BUILD_MODULE, go=go).encode(),
        "go.work": template("go.work.tmpl").substitute(go=go, modules=_go_list(modules)).encode(),
    }
    for policy in go_policies:
        tree |= below(f"policies/{policy.identifier}", moved_module(policy))
    return tree


def _go_list(items: list[str]) -> str:
    return "".join(f"\t{item}\n" for item in items)


def generate_python_executor(policies: tuple[Policy, ...], sources: Sources) -> Tree:
    """python-executor/: the executor with the Python policies, or an empty scaffold when there is none."""
    python_policies = of_runtime(policies, Runtime.PYTHON)
    if not python_policies:
        return {KEEP_FILE: b""}
    return generate_python_executor_base(sources) | generate_python_artifacts(python_policies)


def generate_python_executor_base(sources: Sources) -> Tree:
    """main.py and copies of the packages gatewright_executor and sdk."""
    main = template("main.py.tmpl").substitute().encode()
    executor = below("gatewright_executor", read_tree(sources.executor))
    return {MAIN_FILE: main} | executor | below("sdk", read_tree(sources.python_sdk))


def generate_python_artifacts(policies: tuple[Policy, ...]) -> Tree:
    """python_policy_registry.py and policies/IDENTIFIER/, a package for each Python policy."""
    tree = {REGISTRY_FILE: python_policy_registry(policies).encode(), "policies/__init__.py": b""}
    for policy in policies:
        tree |= below(f"policies/{policy.identifier}", {"__init__.py": b""} | policy.sources)
    return tree
