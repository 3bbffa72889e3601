"""policy-definitions/: what the controller reads, word for word as the policies' authors wrote it."""

from __future__ import annotations

from gatewright_builder.policy import Policy
from gatewright_builder.policy_definition import DEFINITION_FILE
from gatewright_builder.tree import Tree


def generate_definitions(policies: tuple[Policy, ...]) -> Tree:
    """policy-definitions/: NAME-VERSION.yaml for each policy."""
    return {f"{policy.name}-{policy.version}.yaml": definition_copy(policy) for policy in policies}


def definition_copy(policy: Policy) -> bytes:
    """A policy's definition, below a line that says where it comes from."""
    origin = f"# Written by the gateway builder from {policy.origin.resolved}/{DEFINITION_FILE}: change that one.\n"
    return origin.encode() + policy.definition.text
