"""Who sends a request to the management API: the holder of a token, or a person with a JWT; where neither is
configured, any client on this machine, but for web pages of others."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from gatewright_controller.access import LOCAL, STRANGER, Caller, Grant
from gatewright_controller.inspector import is_page_file
from gatewright_controller.local.loopback import is_loopback
from gatewright_controller.management.problems import Problem, on_provider_away, on_storage, problem_response
from gatewright_controller.management.rate_limits import RateLimit, refuse_more
from gatewright_controller.management.rows import CALLER
from gatewright_controller.management.table import is_open
from gatewright_controller.oidc import NotSignedInError, ProviderAwayError
from gatewright_controller.store import StorageError

CONFIGURED = Caller("token", (Grant("admin"),))
"""The holder of the token that the controller was started with."""

FindCaller = Callable[[str], Awaitable[Caller | None]]
"""Who comes with a credential, which a client has sent as a bearer token; None: it is unknown. Raises
`NotSignedInError`, `ProviderAwayError`, `StorageError`."""
UNKNOWN = "expected the header 'Authorization: Bearer TOKEN' with a token that is known here and has not expired"


async def find_no_caller(_: str) -> Caller | None:
    """For a controller that knows no token but its own."""
    return None


@dataclass(frozen=True)
class CallerLimits:
    """How often clients may ask. requests_per_second: each token, and five times as many at once. failures: of each
    address, without a token that is known."""

    requests_per_second: float = 200.0
    failures_per_second: float = 1.0
    failures_at_once: float = 100.0


class Access:
    """With `Authorization: Bearer TOKEN` it is whose token that is, or 401. Without it, what is open needs none, such
    as the Inspector's files; else it is 401 where a token or OIDC is configured. Where neither is, requests must name
    this machine as their host, because another page's script can reach loopback under that page's own name (DNS
    rebinding), and come from no page of another origin, which may send some POST requests without asking (CSRF).
    has_people: OIDC is configured.
    """

    def __init__(
        self,
        app: ASGIApp,
        token: str,
        find: FindCaller = find_no_caller,
        limits: CallerLimits = CallerLimits(),
        has_people: bool = False,
    ) -> None:
        self._app, self._token, self._find = app, token, find
        self._asks = bool(token) or has_people
        self._requests = RateLimit(limits.requests_per_second, 5 * limits.requests_per_second)
        self._failures = RateLimit(limits.failures_per_second, limits.failures_at_once)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[CALLER] = STRANGER
        if scope["type"] != "http" or is_open(scope["path"]) or (self._asks and is_page_file(scope["path"])):
            await self._app(scope, receive, send)
            return
        try:
            scope[CALLER] = await self._caller(Headers(scope=scope), _origin(scope))
        except Problem as problem:
            await problem_response(problem.status, problem.detail, problem.headers)(scope, receive, send)
            return
        except StorageError as error:
            await on_storage(Request(scope), error)(scope, receive, send)
            return
        except ProviderAwayError as error:
            await on_provider_away(Request(scope), error)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    async def _caller(self, headers: Headers, origin: str) -> Caller:
        """Raises `Problem`."""
        scheme, _, text = headers.get("authorization", "").partition(" ")
        refusal, challenge = UNKNOWN, "Bearer"
        if scheme.lower() == "bearer":
            token = text.strip()
            if self._token and secrets.compare_digest(token.encode(), self._token.encode()):
                return CONFIGURED
            try:
                if caller := await self._find(token):
                    refuse_more(self._requests.take(caller.actor), f"requests of {caller.actor}")
                    return caller
            except NotSignedInError as error:
                refusal, challenge = str(error), 'Bearer error="invalid_token"'
        if self._asks or scheme:
            refuse_more(self._failures.take(origin), "requests without a token that is known")
            raise Problem(401, refusal, {"www-authenticate": challenge})
        if not is_loopback(_host_name(headers.get("host", ""))):
            raise Problem(403, "expected a Host header that names this machine")
        page = headers.get("origin")
        if page is not None and urlsplit(page).netloc != headers["host"]:
            cure = "start the controller with a token, which that page's requests have to carry"
            raise Problem(403, f"expected no request of another origin's web page, got one of {page[:200]}; {cure}")
        return LOCAL


def _origin(scope: Scope) -> str:
    return scope["client"][0] if scope.get("client") else ""


def _host_name(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]
