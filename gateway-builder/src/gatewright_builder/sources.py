"""Where the product's own sources are: the one place that knows. The builder copies and compiles, and imports none.

They are those of the checkout that this package lies in, or of the one that `--source-root` names.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gatewright_builder.mistake import BuildError, Mistake


@dataclass(frozen=True, slots=True)
class Sources:
    """The folders of a checkout that a build is made from."""

    root: Path

    @property
    def engine(self) -> Path:
        """The Go module gatewright.dev/policy-engine."""
        return self.root / "gateway-runtime" / "policy-engine"

    @property
    def go_sdk(self) -> Path:
        """The Go module gatewright.dev/sdk."""
        return self.root / "sdk" / "go"

    @property
    def executor(self) -> Path:
        """The Python package gatewright_executor."""
        return self.root / "gateway-runtime" / "python-executor" / "src" / "gatewright_executor"

    @property
    def executor_project(self) -> Path:
        """The executor's pyproject.toml: its dependencies are the base of a build's requirements."""
        return self.root / "gateway-runtime" / "python-executor" / "pyproject.toml"

    @property
    def sdk_project(self) -> Path:
        """The Python SDK's pyproject.toml: its version is what policies may ask for."""
        return self.root / "sdk" / "python" / "pyproject.toml"

    @property
    def python_sdk(self) -> Path:
        """The Python package sdk."""
        return self.root / "sdk" / "python" / "src" / "sdk"


def find_sources(source_root: Path | None = None) -> Sources:
    """The sources below source_root, by default those around this package. Raises BuildError if they are not there."""
    root = source_root or Path(__file__).resolve().parents[3]
    sources = Sources(root.resolve())
    for folder in (sources.engine, sources.go_sdk, sources.executor, sources.python_sdk):
        if not folder.is_dir():
            got = f"no {folder.relative_to(sources.root)} in it"
            raise BuildError([Mistake(str(root), "a checkout of Gatewright", got, "name one with --source-root")])
    return sources
