"""An A2A agent and an A2A client of others: the official Python SDK, in an environment of its own."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import httpx
from own_environment import install

from e2e.kit.gateway import eventually
from e2e.kit.listening import free_port
from e2e.kit.places import ROOT

PROGRAMS = ROOT / "e2e" / "kit" / "programs" / "a2a"
CARD = "/.well-known/agent-card.json"


@cache
def python() -> Path:
    """Python with what requirements/a2a.txt has."""
    return install("a2a") / "bin" / "python"


@contextmanager
def running_agent(shown: str) -> Iterator[str]:
    """An agent whose card names the address `shown`; yields the address at which it listens, with its RPC at /rpc."""
    port = free_port()
    command = [str(python()), str(PROGRAMS / "agent.py"), str(port), shown]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}"
        eventually("the agent answers", lambda: _answers(url, process), 60)
        yield url
    finally:
        process.kill()
        process.wait()


def _answers(url: str, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, f"the agent has ended with {process.returncode}"
    try:
        return httpx.get(f"{url}{CARD}").status_code == 200
    except httpx.TransportError:
        return False


def run_client(url: str, version: str, *options: str) -> Any:
    """What the client prints: the card, what comes of a message, and the events of a task; without ids."""
    command = [str(python()), str(PROGRAMS / "client.py"), url, version, *options]
    result = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    assert result.returncode == 0, f"protocol {version} at {url}:\n{result.stderr[-4000:]}"
    return json.loads(result.stdout)
