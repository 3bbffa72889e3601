"""The definitions that ship with the controller, written from the policies' own:

python -m gatewright_builder.default_policies build.yaml gateway-controller/default-policies
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

from gatewright_builder.discovery import discover
from gatewright_builder.fetching.location import locate
from gatewright_builder.generation import definition_copy, generate_definitions
from gatewright_builder.manifest import read_manifest
from gatewright_builder.mistake import BuildError
from gatewright_builder.policy import Policy
from gatewright_builder.tree import Tree, write_tree
from gatewright_builder.validation import validate


def generate_default_policies(policies: tuple[Policy, ...]) -> Tree:
    """default-policies/: NAME.yaml, or NAME-VERSION.yaml where a policy is built in several versions."""
    versions = Counter(policy.name for policy in policies)
    several = generate_definitions(tuple(policy for policy in policies if versions[policy.name] > 1))
    return {
        f"{policy.name}.yaml": definition_copy(policy) for policy in policies if versions[policy.name] == 1
    } | several


def main(arguments: list[str] | None = None) -> None:
    """Writes the definitions of a manifest's policies into a folder, and removes the others' from it."""
    parser = argparse.ArgumentParser(prog="python -m gatewright_builder.default_policies")
    parser.add_argument("manifest", type=Path)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args(arguments)
    try:
        tree = generate_default_policies(validate(discover(locate(read_manifest(options.manifest)))))
    except BuildError as error:
        sys.exit(str(error))
    for path in options.folder.glob("*.yaml"):
        path.unlink()
    write_tree(tree, options.folder)


if __name__ == "__main__":
    main()
