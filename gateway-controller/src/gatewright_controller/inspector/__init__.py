"""The Inspector: a web page that reads the management API as any other client does. Its files, and their headers."""

from __future__ import annotations

from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from gatewright_controller.local.metrics import ROUTE

__all__ = ["HEADERS", "inspector_routes", "is_page_file"]

FOLDER = Path(__file__).parent / "static"
PAGE, FILES = "/", "/assets"
POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "worker-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types gatewright",
    ]
)
HEADERS = {
    "cache-control": "no-cache",  # asked again each time, by its ETag: a page fits the controller that serves it
    "content-security-policy": POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


def inspector_routes() -> list[BaseRoute]:
    """`/` and `/assets/…`. Their content is public and the same for all clients, so that they need no token."""
    return [Route(PAGE, _page, methods=["GET"]), Mount(FILES, _Files(directory=FOLDER))]


def is_page_file(path: str) -> bool:
    """Whether a path is for a file of the page, which has no data of a gateway."""
    return path == PAGE or path.startswith(f"{FILES}/")


async def _page(request: Request) -> Response:
    request.scope[ROUTE] = PAGE
    return FileResponse(FOLDER / "index.html", headers=HEADERS)


class _Files(StaticFiles):
    async def get_response(self, path: str, scope: Scope) -> Response:
        scope[ROUTE] = FILES
        response = await super().get_response(path, scope)
        response.headers.update(HEADERS)
        return response
