"""Open Policy Agent's own server, with the rules of `opa.rego`."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from e2e.kit.gateway import eventually
from e2e.kit.listening import free_port
from e2e.kit.pebble import program

RULES = Path(__file__).with_suffix(".rego")


@contextmanager
def running(folder: Path) -> Iterator[dict[str, str]]:
    """Runs the server; $OPA is its address."""
    address = f"127.0.0.1:{free_port()}"
    with (folder / "opa.log").open("wb") as log:
        process = subprocess.Popen([program("opa"), address, str(RULES)], stdout=log, stderr=log)
        try:
            eventually("OPA answers", lambda: _is_ready(f"http://{address}"), 60)
            yield {"OPA": f"http://{address}"}
        finally:
            process.kill()
            process.wait()


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/v1/data/orders/allow").status_code == 200
    except httpx.TransportError:
        return False
