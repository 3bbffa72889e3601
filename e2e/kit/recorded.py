"""Recorded exchanges of a node, over the engine's admin socket."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from e2e.kit.gateway import Gateway, Json, eventually


def admin(gateway: Gateway) -> httpx.Client:
    """A client of the engine's admin socket."""
    transport = httpx.HTTPTransport(uds=str(gateway.run_dir / "engine-admin.sock"))
    return httpx.Client(transport=transport, base_url="http://admin", timeout=30)


def forget_exchanges(gateway: Gateway) -> None:
    """Deletes the exchanges that the engine has kept."""
    with admin(gateway) as client:
        assert client.delete("/exchanges").status_code in {200, 204}


@contextmanager
def record_exchanges(gateway: Gateway, **filter_members: object) -> Iterator[None]:
    """Records the exchanges that fit the filter during the block. Exchanges kept before, such as those of an earlier
    run of the test, are deleted."""
    forget_exchanges(gateway)
    with admin(gateway) as client:
        answer = client.post("/recordings", json={"filter": filter_members, "seconds": 600})
        assert answer.status_code == 201, answer.text
        try:
            yield
        finally:
            client.delete(f"/recordings/{answer.json()['id']}")


def kept_exchanges(gateway: Gateway, **filter_members: object) -> list[Json]:
    """The exchanges that the engine has kept, the oldest first."""
    with admin(gateway) as client:
        answer = client.get("/exchanges", params={"kept": "", "filter": json.dumps(filter_members)})
        assert answer.status_code == 200, answer.text
        return [json.loads(line) for line in answer.text.splitlines()]


def wait_for_exchanges(gateway: Gateway, count: int = 1, **filter_members: object) -> list[Json]:
    """Waits until the engine has kept so many exchanges: an exchange ends after its client has the answer."""
    eventually(
        f"{count} exchanges of {filter_members}", lambda: len(kept_exchanges(gateway, **filter_members)) >= count
    )
    return kept_exchanges(gateway, **filter_members)


def execution_members(exchange: Json, *members: str) -> list[tuple[object, ...]]:
    """The members of each execution, in their order."""
    return [tuple(execution.get(member) for member in members) for execution in exchange["executions"]]


def failed_execution(exchange: Json) -> Json:
    """The policy's name, the outcome and the failure of the one execution that failed."""
    (failed_execution,) = [execution for execution in exchange["executions"] if "failure" in execution]
    return {
        "policy": failed_execution["policy"].partition(":")[0],
        "outcome": failed_execution["outcome"],
        **failed_execution["failure"],
    }
