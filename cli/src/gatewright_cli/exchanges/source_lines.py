"""The lines of a policy around the one that raised, if this machine has its file.

A node names a file as its author does: by the path in build.yaml, relative to the folder of build.yaml. A build's
output has a copy of each policy, in a folder named by its identifier, and runs that copy.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

AROUND = 2
MOST_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class Sources:
    """Where the files of policies are. copies: the folder of a build's copies; here: the folder of relative names."""

    copies: Path | None = None
    here: Path | None = None

    def around(self, policy: str, file: str, line: int) -> list[tuple[int, str]]:
        """Numbers and lines; none if the file cannot be read, or has no such line. policy: name:version."""
        text = next((text for path in self._places(policy, file) if (text := _lines(path))), [])
        if not 1 <= line <= len(text):
            return []
        first = max(1, line - AROUND)
        return list(enumerate(text[first - 1 : line + AROUND], first))

    def _places(self, policy: str, file: str) -> Iterator[Path]:
        named = PurePath(file)
        if named.is_absolute():
            yield Path(file)
            return
        if self.copies is not None:
            folder = self.copies / policy.replace(":", "_").replace("-", "_").replace(".", "_")
            yield from (folder.joinpath(*named.parts[first:]) for first in range(len(named.parts)))
        if self.here is not None:
            yield self.here / file


NO_SOURCES = Sources()


def _lines(path: Path) -> list[str]:
    try:
        if not path.is_file() or path.stat().st_size > MOST_BYTES:
            return []
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except (OSError, ValueError):
        return []
