"""A gateway for a hostile policy: an ordinary user's, or root's, with secrets wherever an operator may have them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from e2e.hostile.level import Level
from e2e.kit.gateway import Gateway, Json, running
from e2e.kit.places import ROOT

MANIFEST, OUTPUT = ROOT / "e2e" / "hostile" / "build.yaml", ROOT / "build" / "hostile"
USER = 27001
CANARY = "canary-of-the-operator"
BEARER = "canary-of-a-client"
SYSTEM_PARAMETERS: Json = {name: {"key": f"{CANARY}-{name}"} for name in ("neighbour", "key-check")}
SECRETS = {
    "GATEWRIGHT_CONTROLLER_TOKEN": f"{CANARY}-controller-token",
    "GATEWRIGHT_CONTROLLER_SYSTEM_PARAMETERS": json.dumps(SYSTEM_PARAMETERS),
    "GITHUB_TOKEN": f"{CANARY}-github",
    "AWS_SECRET_ACCESS_KEY": f"{CANARY}-aws",
}
REACHABLE = """\
mount --bind "$1" "$2" && mount -t tmpfs -o mode=755 none "$0" && mkdir -p "$1" && mount --bind "$2" "$1" &&
shift 2 && exec "$@"
"""


class NodeFolders:
    """The folders of one node, all below one that every user may traverse; `owner` is its user's number."""

    def __init__(self, folder: Path, owner: int) -> None:
        self.folder, self.owner = folder, owner
        self.home, self.state, self.run = folder / "home", folder / "state", folder / "run"
        self.build, self._python = folder / "build", folder / "python"
        self.other = Path(tempfile.mkdtemp(prefix="hostile-other-"))

    def fill(self) -> None:
        """Puts there what an operator may have: keys, files of another program, and the build."""
        folder = self.folder
        for private in (self.home / ".ssh", self.state, self.run):
            private.mkdir(mode=0o700, parents=True)
        self.home.chmod(0o700)
        self._python.mkdir()
        for file in (self.home / ".ssh" / "id_ed25519", self.home / ".profile", self.other / "note"):
            file.write_text(CANARY)
            file.chmod(0o600)
        shutil.copytree(OUTPUT, self.build, symlinks=True, ignore=shutil.ignore_patterns("generations"))
        subprocess.run(["chown", "-R", f"{self.owner}:{self.owner}", folder, self.other], check=True)
        folder.chmod(0o755)

    def within(self) -> tuple[str, ...]:
        """Words before the command of the node: its user, its home, its secrets."""
        as_user = ("setpriv", f"--reuid={self.owner}", f"--regid={self.owner}", "--clear-groups") if self.owner else ()
        environment = {"HOME": str(self.home), **SECRETS}
        return (*self._reachable(), *as_user, "env", *(f"{name}={value}" for name, value in environment.items()))

    def _reachable(self) -> tuple[str, ...]:
        """A mount namespace in which others than root reach this interpreter, which may lie in root's home."""
        prefix = Path(sys.base_prefix).resolve()
        shut = [folder for folder in prefix.parents if not folder.stat().st_mode & 0o001]
        if not shut or os.geteuid() != 0:
            return ()
        return ("unshare", "--mount", "sh", "-c", REACHABLE, str(shut[-1]), str(prefix), str(self._python))

    def remove(self) -> None:
        for folder in (self.folder, self.other):
            shutil.rmtree(folder, ignore_errors=True)


def build() -> None:
    command = ["gatewright", "build", "--manifest", str(MANIFEST), "--output", str(OUTPUT)]
    subprocess.run(command, check=True, capture_output=True)


@contextmanager
def node_folders(level: Level) -> Iterator[NodeFolders]:
    """The folders of a node, which are removed at the end of the block."""
    owner = 0 if level.as_root or os.geteuid() != 0 else USER
    folders = NodeFolders(Path(tempfile.mkdtemp(prefix="hostile-")), owner if os.geteuid() == 0 else os.geteuid())
    try:
        folders.fill()
        yield folders
    finally:
        folders.remove()


@contextmanager
def run_node(level: Level, folders: NodeFolders, options: Sequence[str]) -> Iterator[Gateway]:
    """The node itself, ready."""
    more = (*level.options, *options)
    with running(folders.build, folders.state, *more, within=folders.within(), run_dir=folders.run) as gateway:
        yield gateway
