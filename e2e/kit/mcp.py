"""An MCP server and an MCP client of others: the official Python SDK, in an environment of its own."""

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

from e2e.kit.gateway import Json, eventually
from e2e.kit.listening import free_port
from e2e.kit.places import ROOT

PROGRAMS = ROOT / "e2e" / "kit" / "programs" / "mcp"
LEGACY, STATELESS = "legacy", "2026-07-28"
ACCEPTED = {"accept": "application/json, text/event-stream", "content-type": "application/json"}


@cache
def python() -> Path:
    """Python with what requirements/mcp.txt has."""
    return install("mcp") / "bin" / "python"


@contextmanager
def running_server(program: str = "server.py", *options: str) -> Iterator[str]:
    """A server of e2e/kit/programs/mcp; yields its address, below which /mcp is."""
    port = free_port()
    command = [str(python()), str(PROGRAMS / program), str(port), *options]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}"
        eventually(f"{program} answers", lambda: _answers(url, process), 60)
        yield url
    finally:
        process.kill()
        process.wait()


def _answers(url: str, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, f"the server has ended with {process.returncode}"
    try:
        return httpx.get(f"{url}/").status_code == 404
    except httpx.TransportError:
        return False


def run_client(url: str, mode: str, scenario: str, *options: str) -> Any:
    """What the client prints at its end."""
    command = [str(python()), str(PROGRAMS / "client.py"), url, mode, scenario, *options]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, f"{scenario} of {mode} at {url}:\n{result.stderr[-4000:]}"
    return json.loads(result.stdout)


def message(method: str, params: Json | None = None, number: int | str | None = 1) -> Json:
    """A request of JSON-RPC; with `number` None a notification."""
    identified = {} if number is None else {"id": number}
    return {"jsonrpc": "2.0", **identified, "method": method, "params": params or {}}


class Session:
    """An initialized session, message by message."""

    def __init__(self, client: httpx.Client, url: str, capabilities: Json | None = None) -> None:
        self.client, self.url = client, url
        implementation = {"name": "test", "version": "1"}
        params = {"protocolVersion": "2025-11-25", "capabilities": capabilities or {}, "clientInfo": implementation}
        answer = client.post(url, json=message("initialize", params), headers=ACCEPTED)
        assert answer.status_code == 200, answer.text
        self.headers = {
            **ACCEPTED,
            "mcp-session-id": answer.headers["mcp-session-id"],
            "mcp-protocol-version": "2025-11-25",
        }
        assert self.post(message("notifications/initialized", number=None)).status_code == 202

    def post(self, document: Any) -> httpx.Response:
        return self.client.post(self.url, json=document, headers=self.headers)

    def call(self, tool: str, arguments: Json | None = None) -> httpx.Response:
        return self.post(message("tools/call", {"name": tool, "arguments": arguments or {}}))

    @contextmanager
    def stream(self, **headers: str) -> Iterator[httpx.Response]:
        """The stream of the server's messages."""
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        with self.client.stream("GET", self.url, headers=self.headers | more) as answer:
            yield answer


def events(lines: Iterator[str]) -> Iterator[tuple[str, Any]]:
    """The id and the message of each event that has one."""
    number = ""
    for line in lines:
        if line.startswith("id:"):
            number = line.removeprefix("id:").strip()
        if line.startswith("data:") and line.removeprefix("data:").strip():
            yield number, json.loads(line.removeprefix("data:"))
