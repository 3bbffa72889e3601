from __future__ import annotations

import re
from collections import Counter

import httpx
import pytest
from gatewright_controller.apis.controller import Controller
from gatewright_controller.gateway.gateways import Gateways
from gatewright_controller.local.metrics import Metrics
from gatewright_controller.management.api import create_app
from gatewright_controller.management.problems import HANDLERS, Problem
from gatewright_controller.management.process_api import ProcessEndpoints
from gatewright_controller.management.rows import Row
from gatewright_controller.management.table import PARTS, ROWS, routes_of
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]


def row_named(row_id: str) -> Row:
    return next(row for row in ROWS if row.id == row_id)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_a_row_describes_what_stands_in_its_path(row: Row) -> None:
    placeholders = re.findall(r"\{(\w+)(?::text)?\}", row.path)
    assert [parameter.name for parameter in row.in_path] == placeholders
    assert row.words.endswith(".")
    assert all(answer.words.endswith(".") for answer in row.answers.values())
    assert all(parameter.words.endswith((".", "`")) for parameter in (*row.in_path, *row.query, *row.headers))


def test_ids_are_unique_and_so_are_methods_of_a_path() -> None:
    assert [name for name, count in Counter(row.id for row in ROWS).items() if count > 1] == []
    assert [place for place, count in Counter((row.method, row.path) for row in ROWS).items() if count > 1] == []


def test_what_changes_something_needs_a_right_to_write() -> None:
    """Recordings keep copies of exchanges, a check of policies reads what a client sends, and who logs in has no right
    yet."""
    reading = {row.id for row in ROWS if row.method != "GET" and not (row.right or "").endswith((":write", ":send"))}
    assert reading == {"createRecording", "deleteRecording", "logIn"}
    assert {row.id for row in ROWS if row.right is None} == {
        "getHealth",
        "getLogin",
        "getOpenApi",
        "getSchema",
        "logIn",
    }


async def test_the_application_has_a_route_for_each_row(controller: Controller, gateways: Gateways) -> None:
    routes = [route for route in create_app(controller, gateways).routes if isinstance(route, Route)]
    served = {(method, route.path) for route in routes for method in route.methods or () if method != "HEAD"}
    assert served == {(row.method, row.path) for row in ROWS} | {("GET", "/")}


@pytest.fixture
def refusing() -> httpx.AsyncClient:
    """A client of routes of which a check refuses all that need a right, before their endpoints are called."""

    async def refuse(row: Row, _: Request) -> None:
        if row.right is not None:
            raise Problem(403, f"expected the right {row.right}")

    endpoints = (object.__new__(part.endpoints) for part in PARTS if part.endpoints is not ProcessEndpoints)
    routes = routes_of((*endpoints, ProcessEndpoints(Metrics())), (refuse,))
    app = Starlette(routes=routes, exception_handlers=HANDLERS)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1")


async def test_a_check_sees_the_row_before_anything_else_is_looked_at(refusing: httpx.AsyncClient) -> None:
    async with refusing as client:
        for row in (row for row in ROWS if row.right is not None):
            path = re.sub(r"\{.*?\}", "x", row.path)
            refused = await client.request(row.method, path, params={"no-such-parameter": "1"})
            assert (refused.status_code, refused.json()["detail"]) == (403, f"expected the right {row.right}")
        assert (await client.get("/healthz")).status_code == 200


async def test_a_method_that_a_path_has_not_is_refused_with_those_that_it_has(client: httpx.AsyncClient) -> None:
    refused = await client.patch("/v1/apis/orders-v1")
    assert refused.status_code == 405
    assert sorted(refused.headers["allow"].split(", ")) == ["DELETE", "GET", "HEAD", "PUT"]


@pytest.mark.parametrize("path", sorted({row.path for row in ROWS}))
async def test_a_path_has_its_own_methods_alone(path: str, client: httpx.AsyncClient) -> None:
    """Whatever other paths fit it, such as `/v1/nodes/{id}`, whose id may have slashes."""
    own = {row.method for row in ROWS if row.path == path}
    for method in {"GET", "PUT", "POST", "DELETE", "PATCH"} - own:
        refused = await client.request(method, re.sub(r"\{.*?\}", "x", path))
        allowed = own | ({"HEAD"} if "GET" in own else set())
        assert (refused.status_code, set(refused.headers["allow"].split(", "))) == (405, allowed), method


async def test_an_id_may_be_any_text(client: httpx.AsyncClient) -> None:
    for path in ("/v1/nodes/a%0Ab", "/v1/nodes/a%2Fb%0A/notes", "/v1/exchanges/%0A"):
        unknown = await client.get(path)
        assert "nothing at this path" not in unknown.json()["detail"], path


async def test_one_value_of_a_parameter_is_meant(client: httpx.AsyncClient) -> None:
    refused = await client.delete("/v1/apis/orders-v1?reason=a&owner=b&reason=c")
    assert refused.status_code == 400
    assert refused.json()["detail"] == "expected one value of reason, got several; leave all but one out"
    assert (await client.get("/v1/apis?label=team%3Da&label=zone")).status_code == 200


async def test_an_unknown_parameter_is_refused_with_the_known_ones(client: httpx.AsyncClient) -> None:
    refused = await client.put("/v1/apis/orders-v1", params={"dryrun": "true"})
    assert refused.status_code == 400
    known = "wait, dry_run, reason, owner, take_over"
    assert refused.json()["detail"] == f"expected no query parameter dryrun; known here are {known}"
