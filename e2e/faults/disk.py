"""A disk that is full where the engine keeps its state."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from e2e.faults.contract import Fault
from e2e.faults.environment import PYTHON_POLICY, Site, now
from e2e.faults.load import pause
from e2e.faults.row import Row
from e2e.gateway import Json, api, eventually

RETRY_SECONDS = 45.0  # the node tries every 30 s


def obstacle() -> str | None:
    return None if os.geteuid() == 0 else "a full disk is a tiny tmpfs, and to mount one takes root"


@contextmanager
def full_disk(folder: Path) -> Iterator[None]:
    """A file system of one page over the folder, with a file that fills it."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "full", str(folder)], check=True)
    try:
        (folder / "filler").write_bytes(bytes(4096))
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def refuse(site: Site, name: str) -> None:
    """A change that the node cannot store is refused with the reason."""
    definition = api(name, f"{site.upstream}/python", [PYTHON_POLICY])
    with site.gateway.controller() as client:
        answer = client.post("/v1/apis", json=definition, params={"wait": "5"})
    assert answer.status_code in {200, 201, 202}, answer.text
    status = _status(site, name)
    assert "no space left" in str(status), f"expected the reason in the status, got {status}"


def fill(site: Site) -> Fault:
    """A change under a full disk, and one when there is room again."""
    began = now()
    with full_disk(site.state / "engine"):
        refuse(site, "unsaved")
        pause(1.0)
    site.gateway.deploy(api("saved", f"{site.upstream}/python", [PYTHON_POLICY]))
    return Fault(began, now())


def made_up_for(site: Site) -> list[str]:
    """What was refused for want of room is tried again, without being asked for."""
    eventually("the refused change is live", lambda: _status(site, "unsaved")["state"] == "deployed", RETRY_SECONDS)
    return []


def _status(site: Site, name: str) -> Json:
    with site.gateway.controller() as client:
        status: Json = client.get(f"/v1/apis/{name}/status").json()
    return status


ROWS = [Row("disk full under the engine's state", fill, check=made_up_for, obstacle=obstacle)]
