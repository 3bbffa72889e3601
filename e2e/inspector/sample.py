"""The sample of the Inspector's tests: APIs whose names and policies are fixed, since pages are compared."""

from __future__ import annotations

from collections.abc import Sequence

import httpx

from e2e.kit.gateway import Gateway, Json, api, attach

READ = {"method": "GET", "path": "/items/{id}"}
LIST = {"method": "GET", "path": "/items"}
CREATE = {"method": "POST", "path": "/items"}


def sample_apis(upstream: str) -> list[Json]:
    """Each shows something else, by its name: a chain of Go and Python, errors, time-outs, refusals, answers.

    `orders`      three policies, Go → Python → Go; GET and POST /orders/items, GET /orders/items/ID
    `broken`      a Python policy raises in the request: 500
    `broken-late` the same in the response, behind one that has passed
    `slow`        a policy sleeps 2 s with 0.2 s to do it: 504, and late, but not hung
    `denied`      a Python policy refuses: 401
    `answered`    a policy answers by itself: 200
    `plain`       no policies
    """
    log, header = attach("log-message"), attach("add-python-header", {"headerName": "x-python", "headerValue": "yes"})
    tier = attach("add-headers", {"requestHeaders": [{"name": "x-tier", "value": "gold"}]})
    return [
        api("orders", upstream, [log, header, tier], [LIST, READ, CREATE]),
        api("broken", upstream, [log, attach("raise-error", {"phase": "request", "message": "no price for item 7"})]),
        api("broken-late", upstream, [log, attach("raise-error", {"phase": "response", "message": "no total"})]),
        api("slow", upstream, [attach("sleep", {"seconds": 2}, timeout="200ms"), log]),
        api("denied", upstream, [attach("python-deny", {"headerName": "x-api-key"}), log]),
        api("answered", upstream, [log, attach("answer", {"status": 200, "body": "from a policy"})]),
        api("plain", upstream),
    ]


def deploy(gateway: Gateway, apis: Sequence[Json]) -> None:
    for document in apis:
        gateway.deploy(document)


def ask_each(gateway: Gateway) -> dict[str, int]:
    """Sends one request to each sample API; the statuses by name, which are always the same."""
    with httpx.Client(base_url=gateway.url, timeout=30) as client:
        return {
            "orders": client.get("/orders/items/7?page=2", headers={"accept": "application/json"}).status_code,
            "broken": client.get("/broken/items").status_code,
            "broken-late": client.get("/broken-late/items").status_code,
            "slow": client.get("/slow/items").status_code,
            "denied": client.get("/denied/items").status_code,
            "answered": client.post("/answered/items", json={"item": 7}).status_code,
            "plain": client.get("/plain/items").status_code,
        }


ANSWERED = {
    "orders": 200, "broken": 500, "broken-late": 500, "slow": 504, "denied": 401, "answered": 200, "plain": 200,
}  # fmt: skip
"""The statuses that `ask_each` returns."""
