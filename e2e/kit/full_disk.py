"""A disk that is full: a tiny file system of its own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PAGE = 4096


def skip_reason() -> str | None:
    """The reason why this machine cannot make one, or None."""
    return None if os.geteuid() == 0 else "a full disk is a tiny tmpfs, and to mount one takes root"


@contextmanager
def small_disk(folder: Path, pages: int) -> Iterator[None]:
    """Mounts a file system of so many pages over the folder."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={pages * PAGE}", "full", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Writes a file that takes all the room that is left."""
    filler = folder / "filler"
    try:
        with filler.open("wb", buffering=0) as file:
            while file.write(bytes(PAGE)) == PAGE:
                pass
    except OSError:
        pass
    return filler
