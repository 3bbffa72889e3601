"""The version of the product: prints it, or writes another one to all places that have it.

    python tools/product_version.py            prints it
    python tools/product_version.py 0.2.0      writes it to every place: `make version VERSION=0.2.0`

`gatewright.__version__` of the SDK is the one that the product reads. A package's metadata and Go's constant are
written beside it, for neither can read a module of Python.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")
MODULE = "sdk/python/src/gatewright/__init__.py"
ENGINE = "gateway-runtime/policy-engine/engine/engine.go"
DISTRIBUTIONS = (
    "cli",
    "documents",
    "gateway-builder",
    "gateway-controller",
    "gateway-runtime/python-executor",
    "sdk/python",
)


@dataclass(frozen=True)
class Place:
    """A line of a file that has the version between a prefix and the quotation mark."""

    file: str
    before: str

    @property
    def pattern(self) -> re.Pattern[str]:
        return re.compile(f'^({re.escape(self.before)}")(.+)(")$', re.MULTILINE)

    def read(self, root: Path) -> str:
        versions = self.pattern.findall((root / self.file).read_text())
        if len(versions) != 1:
            raise SystemExit(f'version: {self.file}: expected one line {self.before}"VERSION", got {len(versions)}')
        return str(versions[0][1])

    def write(self, root: Path, version: str) -> None:
        path = root / self.file
        path.write_text(self.pattern.sub(rf"\g<1>{version}\g<3>", path.read_text()))


HELM_CHART = "deploy/helm/gatewright/Chart.yaml"
PLACES = (
    Place(MODULE, "__version__ = "),
    Place(ENGINE, "const Version = "),
    *(Place(f"{distribution}/pyproject.toml", "version = ") for distribution in DISTRIBUTIONS),
    Place(HELM_CHART, "version: "),
    Place(HELM_CHART, "appVersion: "),
)


def read_version(root: Path = ROOT) -> str:
    return PLACES[0].read(root)


def write_version(version: str, root: Path = ROOT) -> None:
    """Writes nothing where one of the places is not there."""
    for place in PLACES:
        place.read(root)
    for place in PLACES:
        place.write(root, version)


def differing_places(root: Path = ROOT) -> Iterator[str]:
    """The files that have another version than the SDK, with theirs."""
    version = read_version(root)
    for place in PLACES:
        if (there := place.read(root)) != version:
            yield f"{place.file}: {there}"


def main() -> None:
    if len(sys.argv) > 1:
        if not VERSION.fullmatch(sys.argv[1]):
            raise SystemExit(f"version: expected MAJOR.MINOR.PATCH, such as 0.2.0, got {sys.argv[1]!r}")
        write_version(sys.argv[1])
    print(read_version())


if __name__ == "__main__":
    main()
