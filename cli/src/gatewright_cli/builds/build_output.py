"""The output of `gatewright build` in a folder, as far as a run reads it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

ANY, UNIX = "any", "unix"
MODULE = "libgatewright.so"


class Access(msgspec.Struct, frozen=True):
    """The access that a group's policies ask for in their definitions, beyond that of every policy.

    read, write: absolute paths, with all that is below them. network: "any", "HOST:PORT", "unix"; none of these: none.
    """

    read: Sequence[str] = ()
    write: Sequence[str] = ()
    network: Sequence[str] = (ANY,)


EVERYTHING_USUAL = Access()


class _Group(msgspec.Struct):
    python: str
    registry: str
    digest: str = ""
    access: Access = EVERYTHING_USUAL


class _Manifest(msgspec.Struct):
    version: int
    policies: list[dict[str, object]]
    groups: dict[str, _Group] = {}


class BuildOutputError(Exception):
    """The folder is no build output. The message says what was expected, what was found, and the cure."""


@dataclass(frozen=True)
class Group:
    """An executor group: its interpreter, with all that its policies need, and its registry of policies.

    access: what the policies may reach. policies: the names of their folders.
    content: identifies the code and the environment; "" if the build does not say.
    """

    name: str
    python: Path
    registry: Path
    content: str = ""
    access: Access = EVERYTHING_USUAL
    policies: tuple[str, ...] = ()


@dataclass(frozen=True)
class BuildOutput:
    """A build output (ARCHITECTURE.md, "Build output"). `groups`: executor groups that have Python policies, sorted.

    go_policies: NAME:VERSION of each Go policy, by its package.
    """

    path: Path
    groups: tuple[Group, ...]
    go_policies: Mapping[str, str] = field(default_factory=dict)

    def group(self, name: str) -> Group:
        """The group of this name. Raises KeyError."""
        return {group.name: group for group in self.groups}[name]

    @property
    def engine(self) -> Path:
        """The engine's program."""
        return self.path / "bin" / "policy-engine"

    @property
    def module(self) -> Path:
        """The engine as a library for Envoy; it is there if the build was asked for it."""
        return self.path / "bin" / MODULE

    @property
    def module_digest(self) -> str:
        """Identifies that library; "" if there is none."""
        record = self.module.with_suffix(".json")
        return hashlib.sha256(record.read_bytes()).hexdigest() if record.is_file() else ""

    @property
    def manifest(self) -> Path:
        """manifest.json: policies and groups."""
        return self.path / "manifest.json"

    @property
    def definitions(self) -> Path:
        """The folder of the policies' definitions, NAME-VERSION.yaml."""
        return self.path / "policy-definitions"

    @property
    def executor(self) -> Path:
        """The folder of the executor's main.py, the registries, and policies' code."""
        return self.path / "python-executor"


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
    root = path.absolute()
    groups = tuple(_group(root, name, group, content.policies) for name, group in sorted(content.groups.items()))
    compiled = {
        _folder(policy): f"{policy['name']}:{policy['version']}"
        for policy in content.policies
        if policy.get("runtime") == "go"
    }
    output = BuildOutput(root, groups, compiled)
    needed = [output.engine, *([output.executor / "main.py"] if groups else [])]
    needed += [file for group in groups for file in (group.python, group.registry)]
    if missing := [str(file.relative_to(output.path)) for file in needed if not file.exists()]:
        raise BuildOutputError(f"{path} lacks {', '.join(missing)}: make it again with `gatewright build`")
    return output


def require_module(output: BuildOutput) -> None:
    """Raises BuildOutputError if the build has no engine for Envoy."""
    if not output.module.exists():
        cure = "make it again with `gatewright build --engine in-envoy`, or run with --engine ext-proc"
        raise BuildOutputError(f"{output.path} lacks bin/{MODULE}, the engine for Envoy: {cure}")


def _group(root: Path, name: str, group: _Group, policies: list[dict[str, object]]) -> Group:
    python = root / group.python
    stamp = python.parents[1] / "gatewright-inputs"
    is_known = group.digest and stamp.is_file()
    content = f"{group.digest} {stamp.read_text()}" if is_known else ""
    return Group(name, python, root / group.registry, content, group.access, _folders(policies, name))


def _folders(policies: list[dict[str, object]], group: str) -> tuple[str, ...]:
    """The folders of a group's policies, as the builder names them: add_python_header_v1_0_0."""
    return tuple(_folder(policy) for policy in policies if policy.get("group") == group)


def _folder(policy: Mapping[str, object]) -> str:
    return f"{policy['name']}-{policy['version']}".replace("-", "_").replace(".", "_")
