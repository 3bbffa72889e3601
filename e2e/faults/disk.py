"""A disk that is full where the engine keeps its state."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from e2e.faults.contract import Fault
from e2e.faults.environment import PYTHON_POLICY, LoadedEnvironment, now
from e2e.faults.row import Row
from e2e.kit.full_disk import fill as fill_disk
from e2e.kit.full_disk import skip_reason, small_disk
from e2e.kit.gateway import Json, api, eventually
from e2e.kit.load import pause

RETRY_SECONDS = 45.0  # the node tries every 30 s


@contextmanager
def full_disk(folder: Path) -> Iterator[None]:
    """A file system of one page over the folder, with a file that fills it."""
    with small_disk(folder, 1):
        fill_disk(folder)
        yield


def refuse(environment: LoadedEnvironment, name: str) -> None:
    """A change that the node cannot store is refused with the reason."""
    definition = api(name, f"{environment.upstream}/python", [PYTHON_POLICY])
    with environment.gateway.controller() as client:
        answer = client.post("/v1/apis", json=definition, params={"wait": "5"})
    assert answer.status_code in {200, 201, 202}, answer.text
    status = _status(environment, name)
    assert "no space left" in str(status), f"expected the reason in the status, got {status}"


def fill(environment: LoadedEnvironment) -> Fault:
    """A change under a full disk, and one when there is room again."""
    start = now()
    with full_disk(environment.state / "engine"):
        refuse(environment, "unsaved")
        pause(1.0)
    environment.gateway.deploy(api("saved", f"{environment.upstream}/python", [PYTHON_POLICY]))
    return Fault(start, now())


def check_retry(environment: LoadedEnvironment) -> list[str]:
    """A change refused for lack of room is retried without a request."""
    eventually(
        "the refused change is live", lambda: _status(environment, "unsaved")["state"] == "deployed", RETRY_SECONDS
    )
    return []


def _status(environment: LoadedEnvironment, name: str) -> Json:
    with environment.gateway.controller() as client:
        status: Json = client.get(f"/v1/apis/{name}/status").json()
    return status


ROWS = [Row("disk full under the engine's state", fill, check=check_retry, skip_reason=skip_reason)]
