"""Another commit of this repository, with all that its gateway needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from bench.error import BenchError


def resolve(text: str) -> str:
    """The short hash of a commit that has any name of git's. Raises BenchError for other text."""
    command = ["git", "rev-parse", "--verify", "--quiet", "--short=12", f"{text}^{{commit}}"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise BenchError(f"expected a commit, as git names it, got {text!r}")
    return result.stdout.strip()


def checkout(revision: str, folder: Path) -> Path:
    """A work tree of the commit in `folder`, set up by its own `make setup`."""
    if not folder.exists():
        _run("git", "worktree", "prune")  # forgets work trees whose folders were deleted
        _run("git", "worktree", "add", "--detach", "--quiet", str(folder), revision)
    print(f"bench: make setup in {folder} …", file=sys.stderr, flush=True)
    _run("make", "-C", str(folder), "setup")
    return folder.absolute()


def _run(*command: str) -> None:
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if result.returncode != 0:
        raise BenchError(f"expected `{' '.join(command)}` to succeed, got\n{result.stdout}")
