"""What `gatewright build` has left in a folder, as far as running it needs to know."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec


class _Policy(msgspec.Struct):
    name: str
    version: str
    runtime: str
    group: str = "default"


class _Manifest(msgspec.Struct):
    version: int
    policies: list[_Policy]


class BuildOutputError(Exception):
    """The folder is no build output: what was expected, what was found, the cure."""


@dataclass(frozen=True)
class BuildOutput:
    """A build output (ARCHITECTURE.md, "Build output"). `groups`: executor groups that have Python policies, sorted."""

    path: Path
    groups: tuple[str, ...]

    @property
    def engine(self) -> Path:
        return self.path / "bin" / "policy-engine"

    @property
    def manifest(self) -> Path:
        return self.path / "manifest.json"

    @property
    def definitions(self) -> Path:
        return self.path / "policy-definitions"

    @property
    def executor(self) -> Path:
        return self.path / "python-executor"

    @property
    def executor_python(self) -> Path:
        return self.path / "python-env" / "bin" / "python"


def load(path: Path) -> BuildOutput:
    """Reads the manifest of the build output at `path`. Raises BuildOutputError."""
    manifest = path / "manifest.json"
    try:
        content = msgspec.json.decode(manifest.read_bytes(), type=_Manifest)
    except (OSError, msgspec.DecodeError) as failed:
        error = failed.strerror if isinstance(failed, OSError) else failed
        raise BuildOutputError(
            f"{path} is no build output ({manifest.name}: {error}): make one with `gatewright build`"
        ) from failed
    groups = {policy.group or "default" for policy in content.policies if policy.runtime == "python"}
    output = BuildOutput(path.absolute(), tuple(sorted(groups)))
    needed = [output.engine, *([output.executor / "main.py", output.executor_python] if groups else [])]
    if missing := [str(file.relative_to(output.path)) for file in needed if not file.exists()]:
        raise BuildOutputError(f"{path} lacks {', '.join(missing)}: make it again with `gatewright build`")
    return output
