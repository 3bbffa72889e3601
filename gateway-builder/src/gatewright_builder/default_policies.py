"""The definitions that come with the controller, written from the policies' own:

python -m gatewright_builder.default_policies build.yaml gateway-controller/default-policies

Those of the policies that ship need no copy: they are policies/*/policy-definition.yaml.
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
from gatewright_builder.sources import find_sources
from gatewright_builder.tree import Tree, write_tree
from gatewright_builder.validation import validate


def generate_default_policies(policies: tuple[Policy, ...]) -> Tree:
    """default-policies/: NAME.yaml, or NAME-VERSION.yaml where a policy is built in several versions."""
    versions = Counter(policy.name for policy in policies)
    several = generate_definitions(tuple(policy for policy in policies if versions[policy.name] > 1))
    return {
        f"{policy.name}.yaml": definition_copy(policy) for policy in policies if versions[policy.name] == 1
    } | several


def read_policies(manifest: Path) -> tuple[Policy, ...]:
    """The policies that a build.yaml names. Raises BuildError."""
    return validate(discover(locate(read_manifest(manifest))))


def main(arguments: list[str] | None = None) -> None:
    """Writes the definitions of the policies of a manifest that do not ship into a folder that has them alone."""
    parser = argparse.ArgumentParser(prog="python -m gatewright_builder.default_policies")
    parser.add_argument("manifest", type=Path)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args(arguments)
    try:
        policies, shipped = read_policies(options.manifest), find_sources().shipped_policies
        tree = generate_default_policies(tuple(policy for policy in policies if policy.origin.folder not in shipped))
    except BuildError as error:
        sys.exit(str(error))
    for path in options.folder.glob("*.yaml"):
        path.unlink()
    write_tree(tree, options.folder)


if __name__ == "__main__":
    main()
