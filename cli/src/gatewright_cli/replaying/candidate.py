"""Policies whose code a replay runs: one of a folder, in an environment that is built for it, or those of a build."""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from gatewright.definition import Runtime
from gatewright_builder.build import BuildOptions
from gatewright_builder.fetching.cache import user_cache
from gatewright_documents.document import read_file
from gatewright_documents.mistake import Unreadable
from gatewright_documents.policy_definition import mistakes_in_definition
from gatewright_documents.values import JsonObject

from gatewright_cli.builds import build_output, building
from gatewright_cli.builds.build_output import BuildOutputError
from gatewright_cli.mistakes import PreflightError, refuse

DEFINITION, POLICY = "policy-definition.yaml", "policy.py"
GROUP, POLICY_FOLDER_FILE = "default", "made-for"
SHADOW = "attach it with `mode: shadow` to a gateway that has it built in: its differences are counted and recorded"


@dataclass(frozen=True)
class Candidate:
    """A Python policy. folder: its code. python: the interpreter of its environment. sdk: the folder of the SDK."""

    definition: JsonObject
    folder: Path
    python: Path
    sdk: Path

    @property
    def name(self) -> str:
        """The policy's name."""
        return str(self.definition["name"])

    @property
    def key(self) -> str:
        """name:version."""
        return f"{self.name}:{self.definition['version']}"


def of_folder(folder: Path, import_seconds: float) -> Candidate:
    """The policy of a folder, built by itself into a folder of the cache, which makes the next replay quick.

    Raises PreflightError for no policy, a Go policy, and everything that a build refuses.
    """
    definition = _definition(folder)
    if definition.get("runtime") != Runtime.PYTHON:
        key = f"{definition['name']}:{definition['version']}"
        expected = f"{folder}: expected a Python policy, got {key}, which is written in Go and needs an engine to run"
        raise PreflightError([f"{expected}: {SHADOW}"])
    place = _cache_folder(folder.resolve())
    manifest = place / "build.yaml"
    entry = {"name": definition["name"], "filePath": str(folder.resolve())}
    manifest.write_bytes(msgspec.json.encode({"version": "v1", "policies": [entry]}))
    try:
        options = BuildOptions(manifest, place / "output", import_seconds=import_seconds, engine=False)
        result = building.build(options)
    except PreflightError as error:
        far, near = os.path.relpath(folder.resolve(), place.resolve()), str(folder)
        raise PreflightError([mistake.replace(far, near) for mistake in error.mistakes]) from error
    assert result.executor is not None
    return Candidate(definition, folder.resolve(), result.groups[GROUP].python, result.executor.parent)


def _cache_folder(folder: Path) -> Path:
    """The cache folder of a policy's build. Removes those whose policy's folder is gone."""
    places = user_cache().root / "replay"
    place = places / hashlib.sha256(str(folder).encode()).hexdigest()[:16]
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    (place / POLICY_FOLDER_FILE).write_text(str(folder))
    for cached in places.iterdir():
        marker = cached / POLICY_FOLDER_FILE
        if marker.is_file() and not Path(marker.read_text()).is_dir():
            shutil.rmtree(cached, ignore_errors=True)
    return place


def _definition(folder: Path) -> JsonObject:
    try:
        document = read_file(folder / DEFINITION, str(folder / DEFINITION))
    except Unreadable as error:
        raise PreflightError([str(mistake) for mistake in error.mistakes]) from error
    refuse([str(mistake) for mistake in mistakes_in_definition(document)])
    definition: JsonObject = document.value
    return definition


class _Policy(msgspec.Struct):
    name: str
    version: str
    runtime: str
    definition: dict[str, Any]
    group: str = ""


class _Manifest(msgspec.Struct):
    policies: list[_Policy]


def of_build(path: Path) -> list[Candidate]:
    """All Python policies of a build output. Raises PreflightError."""
    try:
        output = build_output.load(path)
    except BuildOutputError as error:
        raise PreflightError([str(error)]) from error
    if not (output.executor / "gatewright" / "kit" / "replay.py").is_file():
        raise PreflightError([f"{path}: expected a build by this version: make it again with `gatewright build`"])
    manifest = msgspec.json.decode(output.manifest.read_bytes(), type=_Manifest)
    candidates = []
    for policy in manifest.policies:
        if policy.runtime == Runtime.PYTHON:
            copy = f"{policy.name}-{policy.version}".replace("-", "_").replace(".", "_")
            python = output.group(policy.group).python
            candidates.append(
                Candidate(policy.definition, output.executor / "policies" / copy, python, output.executor)
            )
    if not candidates:
        raise PreflightError([f"{path}: expected a build with Python policies, got none: for Go ones, {SHADOW}"])
    return candidates
