"""All rows of the management API, and the routes that are made of them.

A new part is a module NAME_api.py with its `PART`, one line here, and its endpoints in `api.create_app`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial

from starlette.convertors import PathConvertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route, compile_path
from starlette.types import Scope

from gatewright_controller.local.metrics import ROUTE
from gatewright_controller.management import (
    apis_api,
    audit_api,
    consumer_keys_api,
    effective_api,
    exchange_api,
    folder_api,
    gateway_api,
    log_level_api,
    login_api,
    node_api,
    openapi_api,
    plan_api,
    policy_api,
    process_api,
    request_api,
    resources_api,
    revision_api,
    secret_keys_api,
    state_api,
    token_api,
)
from gatewright_controller.management.problems import Problem
from gatewright_controller.management.rows import ROW, Endpoint, Row

PARTS = (
    apis_api.PART,
    effective_api.PART,
    plan_api.PART,
    folder_api.PART,
    policy_api.PART,
    gateway_api.PART,
    revision_api.PART,
    *resources_api.PARTS.values(),
    consumer_keys_api.PART,
    secret_keys_api.PART,
    node_api.PART,
    exchange_api.PART,
    request_api.PART,
    state_api.PART,
    log_level_api.PART,
    token_api.PART,
    login_api.PART,
    audit_api.PART,
    openapi_api.PART,
    process_api.PART,
)
ROWS = tuple(row for part in PARTS for row in part.rows)
"""Where two paths fit a request, the first one is meant, whatever the method."""

Check = Callable[[Row, Request], Awaitable[None]]
"""What is asked of a request before its endpoint is called. Raises `Problem`."""


def is_open(path: str) -> bool:
    """Whether what is at this path is for clients without a token, too."""
    return any(pattern.match(path) for pattern in _OPEN)


_OPEN = [compile_path(row.path)[0] for row in ROWS if row.right is None]


def routes_of(endpoints: Iterable[object], checks: Sequence[Check] = ()) -> list[Route]:
    """A route for each path, so that a refused method is told all that there are (`Allow`).

    endpoints: an object of each class that `PARTS` name. checks: in this order, before that of the query parameters.
    """
    objects = {type(instance): instance for instance in endpoints}
    paths: dict[str, dict[str, Endpoint]] = {}
    for part in PARTS:
        for row in part.rows:
            endpoint = partial(row.endpoint, objects[part.endpoints])
            paths.setdefault(row.path, {})[row.method] = _checked(row, endpoint, (*checks, refuse_wrong_parameters))
    return [_route(path, methods) for path, methods in paths.items()]


def _checked(row: Row, endpoint: Endpoint, checks: Sequence[Check]) -> Endpoint:
    async def checked(request: Request) -> Response:
        request.scope[ROUTE], request.scope[ROW] = row.path, row
        for check in checks:
            await check(row, request)
        return await endpoint(request)

    return checked


def _route(path: str, methods: Mapping[str, Endpoint]) -> Route:
    async def endpoint(request: Request) -> Response:
        return await methods["GET" if request.method == "HEAD" else request.method](request)

    return PathRoute(path, endpoint, methods=list(methods))


class Text(PathConvertor):
    """Any text of a path, with slashes and line breaks."""

    regex = "(?s:.*)"


register_url_convertor("text", Text())


class PathRoute(Route):
    """Takes every request for its path: a method that it has not is answered 405 with `Allow`, and not left to a later
    route whose path fits too, as `/v1/nodes/{id}` fits `/v1/nodes/n1/drain`."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, found = super().matches(scope)
        return (Match.FULL if match is Match.PARTIAL else match), found


async def refuse_wrong_parameters(row: Row, request: Request) -> None:
    """A query parameter that is misspelt, or of several values the one that was not used, would seem to have worked."""
    names = [parameter.name for parameter in row.query]
    if unknown := sorted(set(request.query_params) - set(names)):
        known = ", ".join(names) or "none"
        raise Problem(400, f"expected no query parameter {', '.join(unknown)}; known here are {known}")
    values = Counter(name for name, _ in request.query_params.multi_items())
    singles = (parameter.name for parameter in row.query if parameter.schema.get("type") != "array")
    if repeated := [name for name in singles if values[name] > 1]:
        raise Problem(400, f"expected one value of {', '.join(repeated)}, got several; leave all but one out")
