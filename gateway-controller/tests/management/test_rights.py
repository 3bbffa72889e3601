"""Which caller may call which operation, asked of the API itself: docs/reference/rights.md is written from the answers.

After a change of rights: `pytest gateway-controller/tests/management/test_rights.py --update`.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import httpx
import pytest
from gatewright_controller.access import BOUND, RIGHTS, ROLES, Role
from gatewright_controller.management.access import CallerLimits
from gatewright_controller.management.api import ApiLimits
from gatewright_controller.management.rows import Row
from gatewright_controller.management.table import PARTS, ROWS
from gatewright_documents.values import JsonObject

from .test_tokens import create

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]
PAGE = Path(__file__).parents[3] / "docs" / "reference" / "rights.md"
HEAD = """# Rights

Every operation of the [management API](management-api.md) needs one right, or none.
A role is a set of rights; how to give one to a person or a program: [who may do what](../how-to/access.md).

A test writes this page from what a controller answers to each caller: `yes`, or the status of the refusal.
`make api-fuzz` holds it to the answers to all requests that it sends as each role.
With `ARGS=--update` it writes the page from them.

## Roles

{roles}

A token that is bound to some APIs has of these only the rights that concern one API: {bound}.

## Operations

`bound` is a publisher that is bound to one team's resources: with its own, and with one of another team.
A list has its own alone.

{operations}
"""
MINE, THEIRS = "mine", "theirs"
WITH_TEAMS = ("/v1/apis", "/v1/secrets", "/v1/consumers", "/v1/plans", "/v1/nodegateways")
"""Where each team has a resource; a token that is bound to a team reaches no other kinds."""
SHOWN: tuple[Role, ...] = ("node", "viewer", "publisher", "admin")
BOUND_CALLER, OWN = "bound", "bound-own"


def api_of(orders: JsonObject, name: str) -> JsonObject:
    document = copy.deepcopy(orders)
    document["metadata"] = {"name": name, "labels": {"team": name.removeprefix("new-")}}
    document["spec"]["context"] = f"/{name}"
    return document


def secret_of(name: str) -> JsonObject:
    metadata = {"name": name, "labels": {"team": name}}
    values = {"key": "value"}
    return {"apiVersion": "gatewright.dev/v1", "kind": "Secret", "metadata": metadata, "spec": {"values": values}}


def consumer_of(name: str) -> JsonObject:
    metadata = {"name": name, "labels": {"team": name}}
    return {"apiVersion": "gatewright.dev/v1", "kind": "Consumer", "metadata": metadata, "spec": {}}


def plan_of(name: str) -> JsonObject:
    metadata = {"name": name, "labels": {"team": name}}
    limits = [{"requests": 1, "per": "1s"}]
    return {"apiVersion": "gatewright.dev/v1", "kind": "Plan", "metadata": metadata, "spec": {"limits": limits}}


def node_gateway_of(name: str) -> JsonObject:
    metadata = {"name": name, "labels": {"team": name}}
    spec = {"nodes": {"zone": name}, "listeners": [{"name": "http", "port": 8080}]}
    return {"apiVersion": "gatewright.dev/v1", "kind": "NodeGateway", "metadata": metadata, "spec": spec}


def request_of(row: Row, orders: JsonObject, team: str) -> tuple[str, dict[str, str], JsonObject | None]:
    """Path, query and body of a request that concerns this team's API, if the row concerns one."""
    name = team if row.path.startswith(WITH_TEAMS) else "none"
    path = re.sub(r"\{.*?\}", name, row.path.replace("{revision}", "0"))
    changed = api_of(orders, team)
    changed["spec"]["context"] = f"/{team}-too"
    sources = {"sources": [{"file": "api.json", "text": json.dumps(changed)}]}
    bodies: dict[str, JsonObject] = {
        "createApi": api_of(orders, f"new-{team}"),
        "replaceApi": changed,
        "rollBackApi": {"revision": 0},
        "putSecret": secret_of(team),
        "rollBackSecret": {"revision": 0},
        "putConsumer": consumer_of(team),
        "rollBackConsumer": {"revision": 0},
        "createConsumerKey": {"name": "another"},
        "putPlan": plan_of(team),
        "rollBackPlan": {"revision": 0},
        "putNodeGateway": node_gateway_of(team),
        "rollBackNodeGateway": {"revision": 0},
        "plan": sources,
        "apply": sources,
        "createRecording": {"filter": {"api": team}, "seconds": 1},
    }
    query = {"api": team, "kept": "true", "seconds": "1"} if row.id == "watchExchanges" else {}
    return path, query, bodies.get(row.id, {} if row.body else None)


async def put_back(client: httpx.AsyncClient, orders: JsonObject) -> None:
    """The resources of both teams are there, and no API that a request has created."""
    for name in (MINE, THEIRS):
        await client.delete(f"/v1/apis/{name}")
        await client.delete(f"/v1/apis/new-{name}")
        await client.post("/v1/apis", json=api_of(orders, name))
        await client.put(f"/v1/secrets/{name}", json=secret_of(name))
        await client.put(f"/v1/nodegateways/{name}", json=node_gateway_of(name))
        await client.put(f"/v1/plans/{name}", json=plan_of(name))
        await client.put(f"/v1/consumers/{name}", json=consumer_of(name))


async def outcomes(client: httpx.AsyncClient, tokens: dict[str, str], orders: JsonObject, row: Row) -> dict[str, str]:
    """What each caller is answered: `yes`, or the status of a refusal."""
    found = {}
    for caller, token in tokens.items():
        path, query, body = request_of(row, orders, MINE if caller == OWN else THEIRS)
        answer = await client.request(row.method, path, params=query, headers={"authorization": token}, json=body)
        assert answer.status_code != 429, "this says nothing of rights"
        found[caller] = str(answer.status_code) if answer.status_code in (401, 403) else "yes"
        if found[caller] == "yes" and row.method != "GET":
            await put_back(client, orders)
    return found


@pytest.fixture
def client(client_with: Callable[..., httpx.AsyncClient]) -> httpx.AsyncClient:
    """On a fast machine this test asks more often than a caller may."""
    return client_with(ApiLimits(callers=CallerLimits(requests_per_second=1_000, failures_at_once=1_000)))


@pytest.fixture
async def tokens(client: httpx.AsyncClient) -> dict[str, str]:
    """Authorization headers, by caller."""
    found: dict[str, str] = {role: (await create(client, role, role))["authorization"] for role in ROLES}
    bound = (await create(client, BOUND_CALLER, "publisher", labels={"team": MINE}))["authorization"]
    return {**found, "stranger": f"Bearer gatewright_{'x' * 43}", BOUND_CALLER: bound, OWN: bound}


@pytest.mark.slow("asks for each operation as each of seven callers")
async def test_the_page_has_what_each_caller_is_answered(
    client: httpx.AsyncClient, tokens: dict[str, str], orders: JsonObject, request: pytest.FixtureRequest
) -> None:
    lines = ["| operation | right | stranger | node | viewer | publisher | admin | bound: own | bound: another's |"]
    lines.append("| --- " * 9 + "|")
    await put_back(client, orders)
    for row in (row for part in PARTS for row in part.rows if row.right):
        found = await outcomes(client, tokens, orders, row)
        assert found["admin"] == "yes", row.id
        assert found["stranger"] == "401", row.id
        for role in ROLES:
            assert (found[role] == "yes") == (row.right in RIGHTS[role]), (row.id, role)
        cells = [found[caller] for caller in ("stranger", "node", "viewer", "publisher", "admin", OWN, BOUND_CALLER)]
        path = row.path.replace(":text}", "}")
        lines.append(f"| `{row.method} {path}` | `{row.right}` | {' | '.join(cells)} |")
    page = HEAD.format(roles=roles_table(), bound=", ".join(bound_rights()), operations="\n".join(lines))
    if request.config.getoption("--update"):
        PAGE.write_text(page)
    assert page == PAGE.read_text(), "make it anew with --update, and read what has changed"


def bound_rights() -> list[str]:
    return [f"`{right}`" for right in sorted(BOUND)]


def roles_table() -> str:
    rights = sorted(RIGHTS["admin"])
    rows = [
        f"| `{right}` | {' | '.join('yes' if right in RIGHTS[role] else 'no' for role in SHOWN)} |" for right in rights
    ]
    return "\n".join([f"| right | {' | '.join(SHOWN)} |", "| --- " * 5 + "|", *rows])


def test_each_right_is_needed_somewhere() -> None:
    assert {row.right for row in ROWS} - {None} == RIGHTS["admin"]


def test_the_inspector_has_words_for_each_right() -> None:
    script = resources.files("gatewright_controller.inspector").joinpath("static/lib/caller.js").read_text()
    rights = set().union(*RIGHTS.values()) - {"caller:read"}  # which each caller has
    assert {right for right in rights if f'  "{right}": "' not in script} == set()
