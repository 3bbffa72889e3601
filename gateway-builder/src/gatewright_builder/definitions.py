"""Policy definitions as files for the controller, word for word as their authors wrote them.

    python -m gatewright_builder.definitions build.yaml gateway-controller/default-policies

writes the definitions that ship with the controller, NAME.yaml each.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

from gatewright_builder.definition import DEFINITION_FILE
from gatewright_builder.discovery import discover
from gatewright_builder.manifest import read_manifest
from gatewright_builder.mistake import BuildError
from gatewright_builder.policy import Policy
from gatewright_builder.tree import Tree, write_tree
from gatewright_builder.validation import validate


def generate_definitions(policies: tuple[Policy, ...]) -> Tree:
    """policy-definitions/: NAME-VERSION.yaml for each policy."""
    return {f"{policy.name}-{policy.version}.yaml": _copy(policy) for policy in policies}


def generate_default_policies(policies: tuple[Policy, ...]) -> Tree:
    """default-policies/: NAME.yaml, or NAME-VERSION.yaml where a policy is built in several versions."""
    versions = Counter(policy.name for policy in policies)
    several = generate_definitions(tuple(policy for policy in policies if versions[policy.name] > 1))
    return {f"{policy.name}.yaml": _copy(policy) for policy in policies if versions[policy.name] == 1} | several


def _copy(policy: Policy) -> bytes:
    origin = f"# Written by the gateway builder from {policy.entry.file_path}/{DEFINITION_FILE}: change that one.\n"
    return origin.encode() + policy.definition.text


def main(arguments: list[str] | None = None) -> None:
    """Writes the definitions of a manifest's policies into a folder, and removes the others' from it."""
    parser = argparse.ArgumentParser(prog="python -m gatewright_builder.definitions")
    parser.add_argument("manifest", type=Path)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args(arguments)
    try:
        tree = generate_default_policies(validate(discover(read_manifest(options.manifest))))
    except BuildError as error:
        sys.exit(str(error))
    for path in options.folder.glob("*.yaml"):
        path.unlink()
    write_tree(tree, options.folder)


if __name__ == "__main__":
    main()
