"""Names in messages the files that people write, where an executor names the copies in a generation."""

from __future__ import annotations

import re

import msgspec

from gatewright_cli.build_output import BuildOutput


class _Policy(msgspec.Struct):
    name: str
    version: str
    source: str = ""


class _Manifest(msgspec.Struct):
    policies: list[_Policy]


def at_the_source(build: BuildOutput, text: str) -> str:
    """`text` with the paths of policies in the build output as build.yaml has them: "policies/mark/policy.py:7"."""
    manifest = msgspec.json.decode(build.manifest.read_bytes(), type=_Manifest)
    for policy in manifest.policies:
        copy = build.executor / "policies" / _identifier(policy)
        text = text.replace(f"{copy}/", f"{policy.source}/")
    return text


def _identifier(policy: _Policy) -> str:
    """The policy's package in the executor's folder: add_python_header_v1_0_0."""
    return re.sub(r"[^a-z0-9]", "_", f"{policy.name}_{policy.version}")
