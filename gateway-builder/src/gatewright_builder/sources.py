"""Where the product's own sources are: the one place that knows. The builder copies and compiles, and imports none.

They are those of the checkout that this package lies in, or of the one that `--source-root` names; in a wheel, the
folder product/ of this package, which is laid out as a checkout (tools/wheels.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gatewright_documents.mistake import Mistake

from gatewright_builder.mistake import BuildError

DEFINITION_FILE = "policy-definition.yaml"
PACKAGE = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True)
class Sources:
    """The folders of a checkout that a build is made from."""

    root: Path

    @property
    def has_go(self) -> bool:
        """Whether an engine can be compiled from them."""
        return self.engine.is_dir() and self.go_sdk.is_dir()

    @property
    def shipped_policies(self) -> tuple[Path, ...]:
        """The policies that ship, Go and Python: each folder of policies/ with a definition in it, sorted by name.

        This is the only list of them: a folder more is a policy more.
        """
        return tuple(sorted(file.parent for file in self.root.glob(f"policies/*/{DEFINITION_FILE}")))

    @property
    def bootstrap(self) -> Path:
        """Envoy's bootstrap template."""
        return self.root / "gateway-runtime" / "envoy" / "bootstrap.yaml"

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
        """The folder with the Python packages gatewright and sdk."""
        return self.root / "sdk" / "python" / "src"


def find_sources(source_root: Path | None = None) -> Sources:
    """The sources below source_root; by default those of the checkout around this package, else of its wheel.

    Raises BuildError if they are not there. A wheel has no Go sources, but an engine (stock_engine.py).
    """
    candidates = [source_root] if source_root else [PACKAGE.parents[2], PACKAGE / "product"]
    lacks = [_lacking(Sources(root.resolve())) for root in candidates]
    for root, lacking in zip(candidates, lacks, strict=True):
        if not lacking:
            return Sources(root.resolve())
    raise BuildError(
        [
            Mistake.in_file(
                str(candidates[0]), "a checkout of Gatewright", f"no {lacks[0]} in it", "name one with --source-root"
            )
        ]
    )


def _lacking(sources: Sources) -> str:
    for folder in (sources.executor, sources.python_sdk):
        if not folder.is_dir():
            return str(folder.relative_to(sources.root))
    return ""
