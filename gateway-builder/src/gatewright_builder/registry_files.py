"""The two registries: which policies the engine and the executor know. Sorted and dull, one line a policy."""

from __future__ import annotations

import json
from importlib import resources
from string import Template

from gatewright.definition import Runtime

from gatewright_builder.policy import Policy, of_runtime

BUILD_MODULE = "gatewright.dev/build"


def go_package(policy: Policy) -> str:
    """The import path of a Go policy inside the generated module tree; also its module path there."""
    return f"{BUILD_MODULE}/policies/{policy.identifier}"


def plugin_registry(policies: tuple[Policy, ...]) -> str:
    """plugin_registry.go: Go policies by their factory, Python ones by the bridge of their executor group."""
    go_policies = sorted(of_runtime(policies, Runtime.GO), key=go_package)
    imports = [f'\t{policy.identifier} "{go_package(policy)}"\n' for policy in go_policies]
    registrations = [
        f'\tregistry.Register("{policy.name}", "{policy.version}", {_factory(policy)})\n' for policy in policies
    ]
    return template("plugin_registry.go.tmpl").substitute(
        imports=f"\n{''.join(imports)}" if imports else "", registrations="".join(registrations)
    )


def _factory(policy: Policy) -> str:
    if policy.runtime is Runtime.GO:
        return f"{policy.identifier}.GetPolicy"
    return f'registry.BridgeFactory("{policy.group}")'


def python_policy_registry(policies: tuple[Policy, ...]) -> str:
    """python_policy_registry.py: NAME:VERSION → module, and for each copy where it is from."""
    entries = [f'    "{policy.key}": "{python_module(policy)}",\n' for policy in policies]
    sources = [f"    {json.dumps(policy.identifier)}: {json.dumps(policy.shown)},\n" for policy in policies]
    return template("python_policy_registry.py.tmpl").substitute(entries="".join(entries), sources="".join(sources))


def python_module(policy: Policy) -> str:
    """The module that the executor imports for a Python policy."""
    return f"policies.{policy.identifier}.policy"


def template(name: str) -> Template:
    """A template of this package, by its file name."""
    return Template(resources.files("gatewright_builder").joinpath("templates", name).read_text())
