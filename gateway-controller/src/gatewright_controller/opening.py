"""Opening the database: in words why it cannot be opened, and again until it can.

A node whose last good state is on disk serves without its controller. So a controller that knows of such a state does
not end where its database cannot be opened: it answers requests with the reason, and opens it as soon as that works.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.types import Receive, Scope, Send

from gatewright_controller.inspector import inspector_routes
from gatewright_controller.local.metrics import Metrics, serving_metrics
from gatewright_controller.management.access import Access
from gatewright_controller.management.management_server import Listener, management_server
from gatewright_controller.management.problem_types import NO_DATABASE
from gatewright_controller.management.problems import RETRY_SECONDS, problem_response
from gatewright_controller.settings import Settings
from gatewright_controller.store import NoDatabaseError, Store, open_store

log = logging.getLogger(__name__)
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, JITTER = 0.1, 0.5, 0.25
"""Between two tries; each is twice the one before, and a share of itself longer at most. Nodes wait for this controller
as long as it waits for its database."""


async def open_database(settings: Settings, listener: Listener, stop: asyncio.Event) -> Store | None:
    """The store; None where `stop` was set before there was one.

    Raises `StoreError` where trying again does not help, or no node serves meanwhile (`settings.last_good`).
    """
    try:
        return open_store(settings.database)
    except NoDatabaseError as error:
        if not settings.last_good or not Path(settings.last_good).exists():
            raise
        waiting = _Waiting(str(error))
    log.error("%s", waiting.reason, extra={"meanwhile": "the node serves its last good state"})
    metrics = serving_metrics(settings.metrics_listen, settings.peers, Metrics(has_database=lambda: False))
    async with _answering(settings, listener, waiting), metrics:
        return await _opened(settings.database, waiting, stop)


class _Waiting:
    """Why there is no database yet."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


async def _opened(url: str, waiting: _Waiting, stop: asyncio.Event) -> Store | None:
    pause = FIRST_PAUSE_SECONDS
    while not stop.is_set():
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause * random.uniform(1, 1 + JITTER)):  # noqa: S311 - no secret
                await stop.wait()
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        try:
            store = await asyncio.to_thread(open_store, url)
        except NoDatabaseError as error:
            if str(error) != waiting.reason:
                log.error("%s", error)
            waiting.reason = str(error)
        else:
            log.info("the database can be opened again")
            return store
    return None


@contextlib.asynccontextmanager
async def _answering(settings: Settings, listener: Listener, waiting: _Waiting) -> AsyncIterator[None]:
    """Answers at the management API meanwhile: the Inspector's files, and the reason to all else."""
    server = management_server(_app(waiting, settings), listener.tls)
    serving = asyncio.create_task(server.serve(sockets=[listener.socket.dup()]))  # which closes what it is given
    try:
        yield
    finally:
        server.ended.set()
        await serving


def _app(waiting: _Waiting, settings: Settings) -> Starlette:
    async def health(_: Request) -> Response:
        return JSONResponse({"status": "no database", "reason": waiting.reason})

    async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
        answer = problem_response(503, waiting.reason, {"retry-after": RETRY_SECONDS}, type=NO_DATABASE)
        await answer(scope, receive, send)

    routes = [Route("/healthz", health), *inspector_routes(), Mount("/", refuse)]
    access = Middleware(Access, token=settings.token, has_people=settings.oidc is not None)
    return Starlette(routes=routes, middleware=[access])
