"""What was fetched once, kept by its content: a folder in the user's cache whose names are digests."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from gatewright_builder.tree import Tree, read_tree, text_digest, tree_digest, write_tree


@dataclass(frozen=True, slots=True)
class Cache:
    """root/sources/DIGEST: a policy's files. root/names/…: which digest a name led to when it was last asked."""

    root: Path

    def tree(self, digest: str) -> Path | None:
        """The folder with exactly this content; None if there is none, or if it has been changed since."""
        folder = self._sources / digest
        if not folder.is_dir():
            return None
        if tree_digest(read_all(folder)) == digest:
            return folder
        shutil.rmtree(folder)
        return None

    def keep(self, tree: Tree) -> Path:
        """The folder with this content, written if it is not there."""
        digest = tree_digest(tree)
        if found := self.tree(digest):
            return found
        made = Path(tempfile.mkdtemp(dir=self._made(self._sources)))
        write_tree(tree, made)
        try:
            return made.rename(self._sources / digest)
        except OSError:  # another build was quicker
            shutil.rmtree(made)
            return self._sources / digest

    def remember(self, name: str, text: str) -> None:
        """Keeps what a name led to."""
        self._name(name).write_text(text)

    def remembered(self, name: str) -> str | None:
        """What the name led to last time."""
        file = self._name(name)
        return file.read_text() if file.is_file() else None

    def scratch(self) -> tempfile.TemporaryDirectory[str]:
        """A folder for what is under way, gone afterwards."""
        return tempfile.TemporaryDirectory(dir=self._made(self.root / "scratch"))

    @property
    def engines(self) -> Path:
        """Where stock engines are kept."""
        return self._made(self.root / "engines")

    @property
    def _sources(self) -> Path:
        return self.root / "sources"

    def _name(self, name: str) -> Path:
        return self._made(self.root / "names") / text_digest(name)

    def _made(self, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def user_cache() -> Cache:
    """$GATEWRIGHT_CACHE_DIR, else $XDG_CACHE_HOME/gatewright, else ~/.cache/gatewright."""
    own = os.environ.get("GATEWRIGHT_CACHE_DIR")
    above = os.environ.get("XDG_CACHE_HOME")
    return Cache(Path(own) if own else (Path(above) if above else Path.home() / ".cache") / "gatewright")


def read_all(folder: Path) -> Tree:
    """All files below a folder."""
    return read_tree(folder, lambda _: False)
