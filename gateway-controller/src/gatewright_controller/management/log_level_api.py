"""The management API's /v1/log-level: the level of this controller's log, while it runs."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from gatewright_documents.mistake import shown
from gatewright_documents.values import JsonObject
from starlette.requests import Request
from starlette.responses import Response

from gatewright_controller.local import logs
from gatewright_controller.management.json_answer import JsonAnswer
from gatewright_controller.management.problems import Problem
from gatewright_controller.management.rows import Answer, Body, Part, Row
from gatewright_controller.management.shapes.process import LogLevel

log = logging.getLogger(__name__)
ReadJson = Callable[[Request], Awaitable[JsonObject]]


class LogLevelEndpoints:
    """It counts until it is changed again, or this process ends. read: the JSON object in a request's body."""

    def __init__(self, read: ReadJson) -> None:
        self._read = read

    async def get(self, _: Request) -> Response:
        """`GET /v1/log-level`: `{"level": "info"}`."""
        return JsonAnswer({"level": logs.current_level()})

    async def replace(self, request: Request) -> Response:
        """`PUT /v1/log-level`: the same, and done; 422 for a level that is none."""
        level = (await self._read(request)).get("level")
        if level not in logs.LEVELS:
            raise Problem(422, f"level: expected one of {', '.join(logs.LEVELS)}, got {shown(level)}")
        logs.set_level(str(level))
        log.info("log level changed", extra={"to": level})
        return JsonAnswer({"level": level})


PART = Part(
    "The controller's log",
    LogLevelEndpoints,
    (
        Row(
            "getLogLevel",
            "GET",
            "/v1/log-level",
            LogLevelEndpoints.get,
            "nodes:inspect",
            "The level of the controller's log.",
            {200: Answer("The level.", (LogLevel,))},
        ),
        Row(
            "replaceLogLevel",
            "PUT",
            "/v1/log-level",
            LogLevelEndpoints.replace,
            "logs:write",
            "Changes the level of the controller's log, until the process ends.",
            {200: Answer("It is changed.", (LogLevel,))},
            body=Body((LogLevel,)),
            refusals=(413, 422),
            audit="all",
        ),
    ),
)
