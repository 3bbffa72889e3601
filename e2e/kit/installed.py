"""The product as it is installed: wheels, an environment of their own, a folder that is no checkout, and no Go."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from e2e.kit.places import ROOT

SYSTEM_PATH = "/usr/bin:/bin"
INSTALL_SECONDS = 300


def make_wheels(folder: Path) -> dict[str, Path]:
    """Builds both wheels; by distribution name."""
    subprocess.run([sys.executable, "tools/wheels.py", str(folder)], cwd=ROOT, check=True, timeout=INSTALL_SECONDS)
    return {wheel.name.partition("-")[0]: wheel for wheel in folder.glob("*.whl")}


class Installation:
    """A virtual environment with the wheels in it. `run` has its commands first on PATH, as a person would."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder = folder
        path = f"{folder / 'bin'}:{SYSTEM_PATH}"
        assert shutil.which("go", path=path) is None, "this machine has Go where every program is"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("GATEWRIGHT_", "PYTHON"))},
            "PATH": path,
            "VIRTUAL_ENV": str(folder),
            "GATEWRIGHT_CACHE_DIR": str(cache),
        }

    def run(self, *command: str, cwd: Path, seconds: float = INSTALL_SECONDS) -> str:
        """The stdout of a command; fails with its output."""
        result = subprocess.run(
            command, cwd=cwd, env=self.environment, capture_output=True, text=True, timeout=seconds, check=False
        )
        assert result.returncode == 0, f"{command}: {result.stdout}\n{result.stderr}"
        return result.stdout

    @contextmanager
    def gateway(self, folder: Path, *arguments: str) -> Iterator[tuple[str, float]]:
        """Runs `gatewright run` in a folder: its address, and the seconds until it was ready."""
        start = time.monotonic()
        process = subprocess.Popen(
            ["gatewright", "run", *arguments], cwd=folder,
            env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        lines: list[str] = []
        assert process.stdout
        assert process.stderr
        reader = threading.Thread(target=lines.extend, args=(process.stderr,), daemon=True)
        reader.start()
        try:
            line = process.stdout.readline()
            assert line.startswith("ready "), "".join(lines)
            yield line.split()[1], time.monotonic() - start
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
            reader.join(5)
            process.stdout.close()
            process.stderr.close()
