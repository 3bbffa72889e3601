from __future__ import annotations

import httpx
import pytest
from gatewright_controller.local.loopback import is_loopback
from gatewright_controller.management.access import Access
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

pytestmark = pytest.mark.anyio


async def get(token: str, path: str = "/x", **headers: str) -> httpx.Response:
    async def answer(_: Request) -> PlainTextResponse:
        return PlainTextResponse("in")

    app = Access(Starlette(routes=[Route("/x", answer), Route("/healthz", answer)]), token)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://controller:8090") as client:
        return await client.get(path, headers=headers)


async def test_the_token_opens_and_nothing_else_does() -> None:
    assert (await get("s3cret", Authorization="Bearer s3cret")).text == "in"
    assert (await get("s3cret", Authorization="bearer  s3cret")).text == "in"
    for headers in (
        {},
        {"Authorization": "s3cret"},
        {"Authorization": "Bearer s3cre"},
        {"Authorization": "Basic s3cret"},
    ):
        refused = await get("s3cret", **headers)
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"] == "Bearer"
        assert "s3cret" not in refused.text


async def test_health_asks_for_no_token() -> None:
    assert (await get("s3cret", "/healthz")).text == "in"


@pytest.mark.parametrize("host", ["localhost:8090", "127.0.0.1", "127.0.0.1:1", "[::1]:8090"])
async def test_without_a_token_this_machine_is_let_in(host: str) -> None:
    assert (await get("", Host=host)).text == "in"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8090", "localhost.evil.example", "10.0.0.1", ""])
async def test_without_a_token_other_names_are_refused(host: str) -> None:
    assert (await get("", Host=host)).status_code == 403


@pytest.mark.parametrize("page", ["https://evil.example", "http://localhost:3000", "http://localhost", "null", ""])
async def test_without_a_token_pages_of_other_origins_are_refused(page: str) -> None:
    """A form or `fetch` of theirs may send POST with a body of `text/plain` without asking first."""
    assert (await get("", Host="localhost:8090", Origin=page)).status_code == 403
    assert (await get("s3cret", Host="localhost:8090", Origin=page, Authorization="Bearer s3cret")).text == "in"


async def test_without_a_token_the_own_page_is_let_in() -> None:
    assert (await get("", Host="localhost:8090", Origin="http://localhost:8090")).text == "in"


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("a.b", False)],  # noqa: S104
)
def test_which_addresses_are_this_machine_only(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback
