"""The files of the web page, without a browser: what they are, which clients get them, and with which headers."""

from __future__ import annotations

import re
from pathlib import Path

import gatewright_controller.inspector as inspector
import httpx
import pytest
from gatewright_controller.inspector import HEADERS, inspector_routes
from gatewright_controller.management.access import Access
from starlette.applications import Starlette

pytestmark = pytest.mark.anyio
STATIC = Path(inspector.__file__).parent / "static"
FILES = sorted(path.relative_to(STATIC).as_posix() for path in STATIC.rglob("*") if path.is_file())
TOKEN = "s3cret"  # noqa: S105 - of these tests alone
TYPES = {
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".html": "text/html",
    ".json": "application/json",
}


async def get(path: str, token: str = TOKEN, method: str = "GET", **headers: str) -> httpx.Response:
    app = Access(Starlette(routes=inspector_routes()), token)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://controller:8090") as client:
        return await client.request(method, path, headers=headers)


@pytest.mark.parametrize("path", ["/", *(f"/assets/{name}" for name in FILES)])
async def test_each_file_is_served_to_every_client(path: str) -> None:
    response = await get(path)
    file = STATIC / ("index.html" if path == "/" else path.removeprefix("/assets/"))
    assert response.status_code == 200
    assert response.content == file.read_bytes()
    assert response.headers["content-type"].partition(";")[0] == TYPES[file.suffix]
    assert {name: response.headers[name] for name in HEADERS} == HEADERS
    again = await get(path, **{"if-none-match": response.headers["etag"]})
    if path != "/":
        assert (again.status_code, again.content) == (304, b"")
    assert (await get(path, method="HEAD")).content == b""


@pytest.mark.parametrize(
    "path",
    ["/assets", "/assets/", "/assets/lib", "/assets/lib/", "/assets/none.js", "/assets/../__init__.py",
     "/assets/%2e%2e/__init__.py", "/assets/lib/..%2f..%2f__init__.py", "/assets//etc/passwd"],
)  # fmt: skip
async def test_nothing_else_is_served(path: str) -> None:
    response = await get(path)
    assert response.status_code in (401, 404)
    assert "import" not in response.text


async def test_the_page_writes_nothing() -> None:
    for path in ("/", "/assets/app.js"):
        assert (await get(path, method="POST")).status_code == 405


async def test_without_a_token_the_page_is_for_this_machine_too() -> None:
    assert (await get("/", "", host="evil.example")).status_code == 403
    assert (await get("/", "", host="localhost:9090")).status_code == 200


def test_the_page_takes_its_files_from_the_controller_alone() -> None:
    page = (STATIC / "index.html").read_text()
    linked = re.findall(r'(?:href|src)="([^"]+)"', page)
    assert {link.removeprefix("/assets/") for link in linked if not link.startswith("#")} <= set(FILES)
    assert not re.findall(r"<style|style=|<script>|\son\w+=", page)


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".js")])
def test_what_a_script_imports_is_there(name: str) -> None:
    text = (STATIC / name).read_text()
    imported = re.findall(r"""(?:from\s+|import\(\s*)"([^"]+)\"""", text)
    assert all(((STATIC / name).parent / path).is_file() for path in imported if path.startswith(".")), imported
    assert all(path.startswith(".") for path in imported)
    assert "innerHTML" not in text
