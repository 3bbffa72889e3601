"""A folder as a value: relative POSIX path → content. Generation makes trees; only `write_tree` touches the disk."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

Tree = dict[str, bytes]


def is_cache(path: PurePosixPath) -> bool:
    """Whether a relative path is hidden or what Python leaves behind."""
    return any(part.startswith(".") or part == "__pycache__" or part.endswith(".egg-info") for part in path.parts)


def read_tree(folder: Path, leave_out: Callable[[PurePosixPath], bool] = is_cache) -> Tree:
    """All files below folder, but those that leave_out answers True for, or for a folder around them; sorted."""
    return {str(path): (folder / path).read_bytes() for path in sorted(_files(folder, leave_out), key=str)}


def _files(folder: Path, leave_out: Callable[[PurePosixPath], bool]) -> Iterator[PurePosixPath]:
    for parent, folders, files in os.walk(folder):
        base = PurePosixPath(Path(parent).relative_to(folder).as_posix())
        folders[:] = [name for name in folders if not leave_out(base / name)]  # os.walk then stays out of the others
        yield from (base / name for name in files if not leave_out(base / name))


def below(folder: str, tree: Tree) -> Tree:
    """The same tree one folder deeper."""
    return {f"{folder}/{path}": content for path, content in tree.items()}


def tree_digest(tree: Tree) -> str:
    """SHA-256, in hex, over sorted paths and contents."""
    digest = hashlib.sha256()
    for path, content in sorted(tree.items()):
        digest.update(f"{path}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def text_digest(*texts: str) -> str:
    """SHA-256, in hex, over texts in their order."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def write_tree(tree: Tree, folder: Path) -> None:
    """Writes a tree into a folder, which need not exist."""
    folder.mkdir(parents=True, exist_ok=True)
    for relative, content in tree.items():
        path = folder / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
