"""A controller without a node, and a shell that runs a page's commands on it."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

LIMIT_SECONDS = 60.0
TOKEN = "of-production"  # noqa: S105


@contextmanager
def lone_controller(folder: Path) -> Iterator[str]:
    """A controller without a node, which has no APIs; its URL."""
    (folder / "definitions").mkdir()
    (folder / "production-token").write_text(f"{TOKEN}\n")
    command = [
        sys.executable, "-m", "gatewright_controller", "--listen", "127.0.0.1:0", "--node-listen", f"unix:{folder}/n",
        "--token-file", str(folder / "production-token"), "--definitions", str(folder / "definitions"),
        "--database", "sqlite::memory:",
    ]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    lines: queue.Queue[str] = queue.Queue()
    assert process.stderr
    reader = threading.Thread(target=lambda log: [*map(lines.put, log)], args=(process.stderr,), daemon=True)
    reader.start()
    try:
        while '"ready"' not in (line := lines.get(timeout=LIMIT_SECONDS)):
            assert process.poll() is None, line
        yield f"http://{yaml.safe_load(line)['listen']}"
    finally:
        process.terminate()
        process.wait(LIMIT_SECONDS)
        reader.join(LIMIT_SECONDS)
        process.stderr.close()


class Shell:
    """Runs the page's commands in a folder, with the URLs of the test's controllers in the place of the page's."""

    def __init__(self, folder: Path, urls: dict[str, str]) -> None:
        self._folder, self._urls = folder, urls
        self._environment = {
            name: value for name, value in os.environ.items() if not name.startswith("GATEWRIGHT_")
        } | {"HOME": str(folder), "XDG_CONFIG_HOME": "", "XDG_RUNTIME_DIR": str(folder)}

    def run(self, command: str, *, status: int = 0) -> str:
        for shown, url in self._urls.items():
            command = command.replace(shown, url)
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self._folder, env=self._environment, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False,
        )  # fmt: skip
        assert done.returncode == status, f"{command}: {done.stderr}"
        return done.stdout
