"""Runs the tests of one part of the project: `make test PART=cli`.

    python tools/test_part.py PART PLACE…

A place is a Go module (it has a go.mod) or a folder of Python with its tests. A part is a place by its path, by the
path's last word (`policy-engine`, `builder` for gateway-builder), or by a folder that it lies in (`sdk`, `bench`).
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SECONDS = {"e2e": 180}  # of one test; 120 elsewhere


def main() -> int:
    part, places = sys.argv[1].strip("/"), [*sys.argv[2:], "e2e"]
    wanted = [place for place in places if part in names(place)]
    if not wanted:
        known = sorted({name for place in places for name in names(place)})
        print(f"test: expected a part of the project, got PART={part}; there are: {', '.join(known)}", file=sys.stderr)
        return 2
    commands = [command for place in wanted for command in tests(place)]
    if not commands:
        print(f"test: {part} has no tests", file=sys.stderr)
        return 2
    for command in commands:
        print(*command, flush=True)
    return max([subprocess.run(command, cwd=ROOT, check=False).returncode for command in commands])


def names(place: str) -> Iterator[str]:
    """What a place may be called."""
    path = Path(place)
    yield place
    yield path.name
    yield path.name.removeprefix("gateway-").removeprefix("python-")
    yield path.parts[0]


def tests(place: str) -> Iterator[list[str]]:
    """The commands that run the tests of a place."""
    folder = ROOT / place
    if (folder / "go.mod").exists():
        yield ["go", "test", "-race", "-timeout", "300s", f"./{place}/..."]
    found = folder / "tests" if (folder / "tests").is_dir() else folder
    if any(found.rglob("test_*.py")):
        yield ["pytest", "-q", "--timeout", str(SECONDS.get(place, 120)), str(found.relative_to(ROOT))]


if __name__ == "__main__":
    sys.exit(main())
