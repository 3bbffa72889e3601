"""A folder of Python policies that a test changes while a gateway runs them."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from pathlib import Path

from e2e.kit.places import ROOT

DEFINITION = """
name: {name}
version: {version}
displayName: {name}
description: For a test.
runtime: python
processingMode: {{requestHeaderMode: PROCESS, responseHeaderMode: PROCESS}}
parameters: {{type: object}}
"""


class PolicyProject:
    """build.yaml with Go policies and those of `write_policy`; `arguments` make `gatewright run` build it."""

    def __init__(self, folder: Path, output: str, go: Sequence[str] = ("log-message",)) -> None:
        self.folder = folder
        self.output = ROOT / "build" / output  # the same each time, so that Go is compiled once
        self._entries = {name: str(ROOT / "policies" / name) for name in go}
        self._write_manifest()

    @property
    def manifest(self) -> Path:
        return self.folder / "build.yaml"

    @property
    def arguments(self) -> list[str]:
        return ["--manifest", str(self.manifest), "--output", str(self.output)]

    def write_policy(
        self, name: str, source: str, version: str = "v1.0.0", group: str = "", more: str = "", **files: str
    ) -> Path:
        """Writes a policy, or replaces it; other files as NAME_py="…" or NAME_txt="…". Returns its policy.py.

        more: YAML at the end of the definition; each of its members replaces the line of the same key.
        """
        folder = self.folder / f"{name}-{version}"
        folder.mkdir(exist_ok=True)
        keys = {line.partition(":")[0] for line in textwrap.dedent(more).splitlines() if line[:1].strip()}
        lines = DEFINITION.format(name=name, version=version).splitlines(keepends=True)
        definition = "".join(line for line in lines if line.partition(":")[0] not in keys) + textwrap.dedent(more)
        for file, text in {"policy-definition.yaml": definition, "policy.py": source, **_file_names(files)}.items():
            write_whole(folder / file, textwrap.dedent(text))
        self._entries[f"{name}:{version}"] = folder.name + (f", group: {group}" if group else "")
        self._write_manifest()
        return folder / "policy.py"

    def remove_policy(self, name: str, version: str = "v1.0.0") -> None:
        """Removes a policy from build.yaml."""
        del self._entries[f"{name}:{version}"]
        self._write_manifest()

    def _write_manifest(self) -> None:
        lines = [f"  - {{name: {key.partition(':')[0]}, filePath: {path}}}" for key, path in self._entries.items()]
        write_whole(self.manifest, "\n".join(["version: v1", "policies:", *lines, ""]))


def _file_names(files: dict[str, str]) -> dict[str, str]:
    return {re.sub("_(py|txt)$", r".\1", name): text for name, text in files.items()}


def write_whole(path: Path, text: str) -> None:
    """Replaces the file in one step, as an editor does, and only if the text differs."""
    if not path.exists() or path.read_text() != text:
        scratch = path.with_name(f".{path.name}.new")
        scratch.write_text(text)
        scratch.replace(path)
