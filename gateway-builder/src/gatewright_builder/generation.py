"""From right policies to the trees that a build output is made of. Pure: the same input gives the same bytes."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import PurePosixPath

from gatewright.definition import Runtime

from gatewright_builder.go_module_copy import go_version, moved_module
from gatewright_builder.policy import DEFAULT_GROUP, Policy, group_access, groups, of_runtime
from gatewright_builder.registry_files import BUILD_MODULE, plugin_registry, python_policy_registry, template
from gatewright_builder.resolution import Group
from gatewright_builder.sources import DEFINITION_FILE, Sources
from gatewright_builder.tree import Tree, below, is_cache, read_tree, text_digest, tree_digest

REGISTRY_STEM = "python_policy_registry"
REGISTRY_FILE = f"{REGISTRY_STEM}.py"
MAIN_FILE = "main.py"
KEEP_FILE = ".keep"
POLICY_MODULE = re.compile(r"policies/[^/]+/go\.mod")
OLDEST_GO = b"go 1.26.0\n"  # of an engine that is here only as a binary


def generate_engine(policies: tuple[Policy, ...], sources: Sources) -> Tree:
    """policy-engine/: the Go module of main.go, module.go, plugin_registry.go and copies of the Go policies."""
    go_policies = of_runtime(policies, Runtime.GO)
    go = go_version(*_go_mods(sources), *(policy.sources["go.mod"] for policy in go_policies))
    tree = {
        "main.go": template("main.go.tmpl").substitute().encode(),
        "module.go": template("module.go.tmpl").substitute().encode(),
        "plugin_registry.go": plugin_registry(policies).encode(),
        "go.mod": template("go.mod.tmpl").substitute(module=BUILD_MODULE, go=go).encode(),
    }
    for policy in go_policies:
        tree |= below(f"policies/{policy.identifier}", moved_module(policy))
    return tree


def generate_workspace(engine: Tree, sources: Sources) -> Tree:
    """What the engine is compiled from: its tree, and a go.work with the engine's and the SDK's sources.

    It names folders of this machine, so no output holds it.
    """
    policies = [path.removesuffix("/go.mod") for path in engine if POLICY_MODULE.fullmatch(path)]
    modules = [".", *(f"./{folder}" for folder in policies), str(sources.engine), str(sources.go_sdk)]
    go = go_version(engine["go.mod"])
    return engine | {"go.work": template("go.work.tmpl").substitute(go=go, modules=_go_list(modules)).encode()}


def _go_mods(sources: Sources) -> list[bytes]:
    if not sources.has_go:
        return [OLDEST_GO]
    return [(folder / "go.mod").read_bytes() for folder in (sources.engine, sources.go_sdk)]


def _go_list(items: list[str]) -> str:
    return "".join(f"\t{json.dumps(item)}\n" for item in items)


def generate_python_executor(policies: tuple[Policy, ...], sources: Sources) -> Tree:
    """python-executor/: the executor with the Python policies, or an empty scaffold when there is none."""
    python_policies = of_runtime(policies, Runtime.PYTHON)
    if not python_policies:
        return {KEEP_FILE: b""}
    return generate_python_executor_base(sources) | generate_python_artifacts(python_policies)


def generate_python_executor_base(sources: Sources) -> Tree:
    """main.py and copies of the packages gatewright_executor, gatewright and sdk."""
    main = template("main.py.tmpl").substitute().encode()
    executor = below("gatewright_executor", read_tree(sources.executor, _for_tests))
    return {MAIN_FILE: main} | executor | read_tree(sources.python_sdk)


def _for_tests(path: PurePosixPath) -> bool:
    """What speaks to an executor as an engine does: it needs grpcio, which an executor's environment has not."""
    return is_cache(path) or path.name == "testing.py" or path.stem.endswith("_pb2_grpc")


def generate_python_artifacts(policies: tuple[Policy, ...]) -> Tree:
    """policies/IDENTIFIER/, a package for each Python policy, and for each group the registry of its own ones."""
    tree = {"policies/__init__.py": b""}
    for group, members in groups(policies).items():
        tree[registry_file(group)] = python_policy_registry(members).encode()
    for policy in policies:
        tree |= below(f"policies/{policy.identifier}", {"__init__.py": b""} | policy.sources)
    return tree


def generate_definitions(policies: tuple[Policy, ...]) -> Tree:
    """policy-definitions/, for the controller: NAME-VERSION.yaml for each policy."""
    return {f"{policy.name}-{policy.version}.yaml": definition_copy(policy) for policy in policies}


def definition_copy(policy: Policy) -> bytes:
    """A policy's definition word for word, below a line that says where it comes from."""
    origin = f"# Written by the gateway builder from {policy.origin.resolved}/{DEFINITION_FILE}: change that one.\n"
    return origin.encode() + policy.definition.text


def group_digest(executor: Tree, group: Group, policies: tuple[Policy, ...]) -> str:
    """SHA-256, in hex, of what a group's processes run: python-executor/ without other groups' parts, the lock, and
    what they are to reach."""
    others = [policy for policy in of_runtime(policies, Runtime.PYTHON) if policy.group != group.name]
    foreign = tuple(f"policies/{policy.identifier}/" for policy in others)
    registries = {registry_file(name) for name in groups(policies)} - {registry_file(group.name)}
    own = {
        path: content for path, content in executor.items() if path not in registries and not path.startswith(foreign)
    }
    access = json.dumps(asdict(group_access(groups(policies)[group.name])))
    return text_digest(tree_digest(own), group.pin.text, access)


def group_base(executor: Tree, group: Group) -> str:
    """SHA-256, in hex, of what all policies of a group are imported with: the executor's own files, and the lock."""
    own = {path: content for path, content in executor.items() if not path.startswith(("policies/", REGISTRY_STEM))}
    return text_digest(tree_digest(own), group.pin.text)


def registry_file(group: str) -> str:
    """python_policy_registry.py of the group default; another group's name stands in its own."""
    return REGISTRY_FILE if group == DEFAULT_GROUP else f"python_policy_registry_{group.replace('-', '_')}.py"
