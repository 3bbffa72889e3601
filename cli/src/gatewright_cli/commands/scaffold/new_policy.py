"""`gatewright new policy`: writes a policy's folder into a project, for its author to change."""

from __future__ import annotations

import keyword
import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from gatewright.definition import NAME, NAME_CURE, NAME_PATTERN
from gatewright_builder.manifest import Manifest, read_manifest
from gatewright_builder.mistake import BuildError
from gatewright_builder.sources import Sources, find_sources
from gatewright_documents.yaml_insert import with_item

from gatewright_cli.commands.scaffold.schemas import write_schemas
from gatewright_cli.commands.scaffold.template import template_texts, write_texts
from gatewright_cli.mistakes import PreflightError

Form = Literal["plain", "async", "stream", "go"]
TEMPLATES: dict[Form, str] = {
    "plain": "new_policy",
    "async": "new_policy_async",
    "stream": "new_policy_stream",
    "go": "new_policy_go",
}
OWN = {"policy": "my-policy", "display": "My policy", "folder": "my_policy", "package": "mypolicy", "sdk": "GO_SDK"}
"""The words of templates that a policy's own words replace."""
POLICIES = "policies"
LONGEST_NAME = 100
GO_WORDS = {
    *("break", "case", "chan", "const", "continue", "default", "defer", "else", "fallthrough", "for", "func", "go"),
    *("goto", "if", "import", "interface", "main", "map", "package", "range", "return", "select", "struct", "switch"),
    *("type", "var"),
}
"""Go's keywords, which cannot name a package, and `main`, which names a program."""


@dataclass(frozen=True, slots=True)
class NewPolicy:
    """What was written. folder: relative to the project, as `filePath` in build.yaml has it."""

    folder: PurePosixPath
    written: list[Path]
    added: bool


def write_policy(name: str, manifest: Path, form: Form, *, add: bool) -> NewPolicy:
    """Writes policies/NAME below the folder of the manifest, and its entry into the manifest.

    Raises PreflightError, and has then written nothing, if the name is invalid or taken, if there is no project, if the
    folder exists, or if build.yaml has no simple place for the entry.
    """
    _check_name(name)
    folder = PurePosixPath(POLICIES, folder_of(name))
    manifest_text = _with_entry(name, manifest, folder) if add else None
    place = manifest.parent / folder
    if place.exists() or place.is_symlink():
        raise PreflightError([f"{place} is already there: choose another name, or remove it"])
    texts = _texts(name, form, place)
    write_texts(texts, place)
    written = [place / path for path in texts]
    if manifest_text is not None:
        _replace(manifest, manifest_text)
        written.append(manifest)
    write_schemas(manifest.parent, anew=False)
    return NewPolicy(folder, written, add)


def folder_of(name: str) -> str:
    """The name as a Python identifier, so that mypy distinguishes the modules of several policies."""
    folder = name.replace("-", "_")
    return f"{folder}_" if keyword.iskeyword(folder) else folder


def _check_name(name: str) -> None:
    if not re.fullmatch(NAME_PATTERN, name):
        raise PreflightError([f"NAME: expected {NAME}, got {name!r}; {NAME_CURE}"])
    if len(name) > LONGEST_NAME:
        raise PreflightError([f"NAME: expected at most {LONGEST_NAME} characters, got {len(name)}; make it shorter"])


def _with_entry(name: str, manifest: Path, folder: PurePosixPath) -> str:
    """The manifest's text with the policy in it."""
    if not manifest.exists():
        cure = "run it in the folder that has one, make one with `gatewright init`, or use --no-add"
        raise PreflightError([f"{manifest}: expected the build.yaml of a project, got no such file; {cure}"])
    try:
        known = read_manifest(manifest)
    except BuildError as error:
        raise PreflightError([str(mistake) for mistake in error.mistakes]) from error
    _check_free(name, manifest, known)
    text = with_item(_read(manifest), "policies", {"name": name, "filePath": str(folder)})
    if text is None:
        entry = f"{{name: {name}, filePath: {folder}}}"
        mistake = f"expected a list of policies that an entry can be added to; use --no-add, and write {entry} into it"
        raise PreflightError([f"{manifest}: {mistake}"])
    return text


def _check_free(name: str, manifest: Path, known: Manifest) -> None:
    taken = next((entry for entry in known.entries if entry.name == name), None)
    if taken is not None:
        mistake = f"has a policy {name} already; choose another name, or use --no-add for another version of it"
        raise PreflightError([f"{manifest}:{taken.line}: {mistake}"])
    if name in {folder.name for folder in find_sources().shipped_policies}:
        expected = "expected a name that no shipped policy has"
        raise PreflightError([f"NAME: {expected}, got {name}; choose another one: APIs go by the name alone"])


def _texts(name: str, form: Form, place: Path) -> dict[PurePosixPath, str]:
    package = name.replace("-", "")
    words = {
        OWN["policy"]: name,
        OWN["display"]: name.replace("-", " ").capitalize(),
        OWN["folder"]: folder_of(name),
        OWN["package"]: f"{package}policy" if package in GO_WORDS else package,
    }
    if form == "go":
        words[OWN["sdk"]] = os.path.relpath(go_sdk(find_sources()), place)
    pattern = re.compile("|".join(words))
    texts = template_texts(TEMPLATES[form])
    return {path: pattern.sub(lambda match: words[match[0]], text) for path, text in texts.items()}


def go_sdk(sources: Sources) -> Path:
    """The folder of the Go SDK. Raises PreflightError if the installation has none."""
    if not sources.has_go:
        got = "an installation that cannot compile one"
        cure = "write it in Python, or use the command of a checkout (make setup)"
        raise PreflightError(
            [f"--go: expected a checkout of Gatewright, which Go policies are built in, got {got}; {cure}"]
        )
    return sources.go_sdk


def _read(manifest: Path) -> str:
    try:
        return manifest.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise PreflightError([f"{manifest}: {error}: fix the file"]) from error


def _replace(manifest: Path, text: str) -> None:
    """Replaces the file in one step, so that a watcher never reads a part of it."""
    scratch = manifest.with_name(f".{manifest.name}.new")
    try:
        scratch.write_bytes(text.encode())
        scratch.chmod(manifest.stat().st_mode & 0o777)
        scratch.replace(manifest)
    except OSError as error:
        raise PreflightError([f"{manifest}: {error.strerror}: add the policy to it by hand"]) from error
