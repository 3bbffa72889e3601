"""uv, as this package brings it along. Where packages come from is the environment's business (UV_DEFAULT_INDEX, …)."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from uv import find_uv_bin

from gatewright_builder.tool_environment import for_uv

WITHOUT_WHEEL = re.compile(r"Wheels are required for `([^`]+)`")


class UvError(Exception):
    """uv could not do it: its own words, on one line."""

    @property
    def unsolvable(self) -> bool:
        """Whether what was asked for contradicts itself, rather than, say, a registry that cannot be reached."""
        return "No solution found" in str(self) or "unsatisfiable" in str(self)

    @property
    def without_wheel(self) -> tuple[str, ...]:
        """The packages that there are only as sources, where that is what it could not do without."""
        return tuple(dict.fromkeys(WITHOUT_WHEEL.findall(str(self))))


def uv(*arguments: str | Path, stdin: str = "") -> str:
    """What uv prints. Raises UvError. Nothing it does downloads an interpreter."""
    command = [find_uv_bin(), "--quiet", "--no-python-downloads", "--no-config", *map(str, arguments)]
    done = subprocess.run(command, input=stdin, env=for_uv(), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise UvError(_sentence(done.stderr) or f"exit code {done.returncode}")
    return done.stdout


def built_from_source(sdists: tuple[str, ...]) -> tuple[str, ...]:
    """uv's options: wheels, but for these packages, whose sources are built. What builds them runs on this machine."""
    return ("--only-binary", ":all:", *(option for name in sdists for option in ("--no-binary", name)))


def _sentence(stderr: str) -> str:
    """Without the frames that uv draws around its words."""
    plain = re.sub(r"^\s*(error:|[×╰─▶│]+)\s", "", stderr, flags=re.MULTILINE)
    return " ".join(plain.split()).rstrip(".")
