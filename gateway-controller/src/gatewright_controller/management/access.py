"""Access to the management API: by the token; without one, from this machine only, and from no other web page."""

from __future__ import annotations

import secrets

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from gatewright_controller.inspector import is_page_file
from gatewright_controller.local.loopback import is_loopback
from gatewright_controller.management.authors import ACTOR
from gatewright_controller.management.problems import problem_response
from gatewright_controller.management.table import is_open


class Access:
    """With a token: `Authorization: Bearer TOKEN` or 401, but for the Inspector's files and what needs no right.
    Without: requests must name this machine as their host, because another page's script can reach loopback under that
    page's own name (DNS rebinding)."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[ACTOR] = "token" if self._token else "local"
        if scope["type"] != "http" or is_open(scope["path"]):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if self._token and is_page_file(scope["path"]):
            await self._app(scope, receive, send)
        elif self._token and not self._knows_token(headers.get("authorization", "")):
            detail = "expected the header 'Authorization: Bearer TOKEN' with the controller's token"
            await problem_response(401, detail, {"www-authenticate": "Bearer"})(scope, receive, send)
        elif not self._token and not is_loopback(_host_name(headers.get("host", ""))):
            await problem_response(403, "expected a Host header that names this machine")(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _knows_token(self, authorization: str) -> bool:
        scheme, _, token = authorization.partition(" ")
        same = secrets.compare_digest(token.strip().encode(), self._token.encode())
        return scheme.lower() == "bearer" and same


def _host_name(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]
