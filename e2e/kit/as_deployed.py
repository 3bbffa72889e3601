"""The commands of a chart or a Compose file, run on this machine, with paths, ports and hosts of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from e2e.kit.gateway import eventually
from e2e.kit.places import ROOT

ENTRYPOINT = ROOT / "gateway-runtime" / "docker-entrypoint.sh"


@dataclass
class Place:
    """A container's view of files and ports: `paths` of the container → those of this machine; `ports` likewise."""

    folder: Path
    paths: Mapping[str, Path]
    ports: Mapping[int, int]
    hosts: Mapping[str, str] = field(default_factory=dict)

    def here(self, text: str) -> str:
        """The text with this machine's paths, ports and hosts, all replaced at once."""
        others = {**self.hosts, **{path: str(other) for path, other in self.paths.items()}}
        others |= {str(port): str(other) for port, other in self.ports.items()}
        longest_first = sorted(others, key=len, reverse=True)
        names = re.compile(rf"(?<![\w/.-])({'|'.join(map(re.escape, longest_first))})(?![\w-])")
        return names.sub(lambda match: others[match[1]], text)

    def start(self, stack: ExitStack, name: str, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
        """The image's entrypoint with these arguments; it is killed at the end, unless it has ended.

        Its run directory has a short path: it has sockets."""
        entrypoint = self.folder / f"{name}-entrypoint.sh"
        entrypoint.write_text(self.here(ENTRYPOINT.read_text()))
        environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "GATEWRIGHT_RUN_DIR": f"{stack.enter_context(tempfile.TemporaryDirectory(prefix='gw-'))}/run",
        }
        log = stack.enter_context((self.folder / f"{name}.log").open("wb"))
        command = ["sh", str(entrypoint), *(self.here(argument) for argument in arguments)]
        process = subprocess.Popen(command, env=environment, cwd=self.folder, stdout=log, stderr=subprocess.STDOUT)
        stack.callback(stop, process)
        return process

    def log_of(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()


def stop(process: subprocess.Popen[bytes]) -> None:
    """In order, or at once where that takes too long."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for(url: str, status: int = 200, seconds: float = 60) -> None:
    """Until the URL is answered so; no certificate is checked, as by a kubelet."""

    def answers() -> bool:
        try:
            return httpx.get(url, verify=False).status_code == status  # noqa: S501
        except httpx.TransportError:
            return False

    eventually(f"{url} is answered {status}", answers, seconds)
