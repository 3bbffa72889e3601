"""Checks the fragments of changes/, which `make changelog` folds: their names and types; none is empty."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "changes"
OTHERS = ("README.md", "template.md.jinja")
NAME = re.compile(r"(?P<slug>[a-z][a-z0-9]*(-[a-z0-9]+)*)\.(?P<type>[a-z]+)\.md")


def main() -> None:
    types = [
        kind["directory"] for kind in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["towncrier"]["type"]
    ]
    files = sorted(path for path in FOLDER.iterdir() if path.name not in OTHERS)
    if mistakes := [mistake for file in files for mistake in mistakes_of(file, types)]:
        raise SystemExit("\n".join(["fragments: failed", *mistakes]))


def mistakes_of(file: Path, types: list[str]) -> Iterator[str]:
    match = NAME.fullmatch(file.name)
    if not match or match["type"] not in types:
        yield f"  changes/{file.name}: expected SLUG.TYPE.md, the type one of {', '.join(types)}; see changes/README.md"
    elif not file.read_text().strip():
        yield f"  changes/{file.name}: expected a description of the change, got an empty file"


if __name__ == "__main__":
    main()
