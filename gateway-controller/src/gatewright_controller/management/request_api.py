"""The management API's /v1/requests: sends a request to the gateway, as a client on the controller's machine would.

A page at the controller's address may not: the gateway is another origin, whose certificates its browser may not trust.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import shlex
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import h11
import msgspec
from gatewright_documents.json_reader import parse_json
from gatewright_documents.mistake import Invalid, Mistake
from msgspec import UNSET
from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response

from gatewright_controller.apis.controller import Controller
from gatewright_controller.gateway.gateway_listeners import (
    ReachableListener,
    UnreachableError,
    reachable_listener,
    unknown_listener,
)
from gatewright_controller.gateway.gateways import Gateways
from gatewright_controller.management.callers import permit_of
from gatewright_controller.management.composed_request import WantedRequest, composed, wanted_request
from gatewright_controller.management.json_answer import JsonAnswer
from gatewright_controller.management.json_body import json_body
from gatewright_controller.management.policies_on_path import apis_on_path, may_run_policies
from gatewright_controller.management.problems import PROBLEM, Problem
from gatewright_controller.management.request_recording import RecordedRequest, RecordingTimes, recording
from gatewright_controller.management.request_sending import (
    AnswerLimits,
    ComposedRequest,
    ReceivedAnswer,
    SendError,
    connected,
)
from gatewright_controller.management.rows import Answer, Body, Part, Row
from gatewright_controller.management.shapes.requests import GatewayAnswer, ReceivedBody
from gatewright_controller.nodes.watching import Watching
from gatewright_controller.resource.paths import is_below
from gatewright_controller.store import StoredApi

log = logging.getLogger(__name__)
MAX_DOCUMENT_BYTES = 4 * 1024 * 1024
CONNECT_SECONDS = 5.0
RETRY_SECONDS = "1"


@dataclass(frozen=True)
class RequestLimits:
    """What requests may take of a controller."""

    most_at_once: int = 4
    answer: AnswerLimits = field(default_factory=AnswerLimits)
    recording: RecordingTimes = field(default_factory=RecordingTimes)


class RequestEndpoints:
    """What is sent goes to a listener of this controller's gateway, and nowhere else."""

    def __init__(
        self, controller: Controller, gateways: Gateways, watching: Watching, limits: RequestLimits = RequestLimits()
    ) -> None:
        self._controller, self._gateways, self._watching, self._limits = controller, gateways, watching, limits
        self._under_way = 0

    async def send(self, request: Request) -> Response:
        """`POST /v1/requests`: 200 with the gateway's answer, whatever its status; 409 where no listener can be
        reached, 422, 502 and 504 where none of its answers came, 503 where others are being sent.
        """
        document = parse_json(await json_body(request, MAX_DOCUMENT_BYTES))
        try:
            wanted = wanted_request(document)
        except Invalid as invalid:
            raise _refused(invalid.mistakes) from None
        await self._refuse_other(request, wanted.path.partition("?")[0])
        listener = self._listener(wanted.listener)
        if self._under_way >= self._limits.most_at_once:
            detail = f"{self._limits.most_at_once} requests are being sent already; try again when one is through"
            raise Problem(503, detail, {"retry-after": RETRY_SECONDS})
        self._under_way += 1
        try:
            return JsonAnswer(await _unless_gone(request, self._sent(wanted, listener)))
        finally:
            self._under_way -= 1

    def _with_defaults(self, stored: StoredApi) -> StoredApi:
        """The API as it runs."""
        return replace(stored, api=self._controller.effective(stored.api, stored.versions).api)

    async def _refuse_other(self, request: Request, path: str) -> None:
        """Raises `Problem` and `NotPermittedError` where the path is not one of the caller's APIs."""
        permit = permit_of(request)
        if permit.apis is None:
            return
        found = apis_on_path(await self._controller.list(), path)
        if not found:
            raise Problem(403, f"expected a path below the context of an API that {permit.actor} is for, got {path}")
        for stored in found:
            permit.refuse_others(stored.api)

    def _listener(self, name: str) -> ReachableListener:
        try:
            return reachable_listener(self._gateways, self._controller.deployment, name)
        except UnreachableError as error:
            raise Problem(409, str(error)) from None
        except ValueError as error:
            raise _refused([unknown_listener(str(error), name)]) from None

    async def _sent(self, wanted: WantedRequest, listener: ReachableListener) -> GatewayAnswer:
        request = composed(wanted, listener)
        try:
            answer, found = await self._exchanged(request, wanted, listener)
        except SendError as error:
            raise Problem(504 if error.timed_out else 502, _why(error, wanted, listener)) from None
        except h11.LocalProtocolError as error:  # what the checks before let pass, and HTTP/1.1 does not
            raise Problem(422, f"expected a request that HTTP/1.1 can carry: {error}") from None
        known = {"listener": listener.name, "method": request.method, "status": answer.status}
        log.info("request sent for a client of the management API", extra=known)
        return _answer_to_json(answer, found, listener)

    async def _exchanged(
        self, request: ComposedRequest, wanted: WantedRequest, listener: ReachableListener
    ) -> tuple[ReceivedAnswer, RecordedRequest]:
        async with AsyncExitStack() as stack:
            connecting = connected(listener, request.host, CONNECT_SECONDS, self._limits.answer)
            connection = await stack.enter_async_context(connecting)
            if not wanted.record:
                return await connection.exchange(request, wanted.seconds), RecordedRequest()
            listening = recording(self._watching, connection.client, self._limits.recording)
            recorded = await stack.enter_async_context(listening)
            answer = await connection.exchange(request, wanted.seconds)
            path = request.path.partition("?")[0]
            apis = [stored for stored in await self._controller.list() if is_below(path, stored.context)]
            expected = may_run_policies(map(self._with_defaults, apis), request.method, path)
            return answer, await recorded.found(expected=expected)


async def _unless_gone(request: Request, sending: Coroutine[None, None, GatewayAnswer]) -> GatewayAnswer:
    """What it returns; cancelled where the client does not wait for it."""
    task = asyncio.create_task(sending)
    gone = asyncio.create_task(_gone(request))
    try:
        await asyncio.wait([task, gone], return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise Problem(
                400, "the client disconnected before the answer came"
            )  # the response is not sent: the client has gone
        return task.result()
    finally:
        for running in (task, gone):
            running.cancel()
        await asyncio.wait([task, gone])


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _why(error: SendError, wanted: WantedRequest, listener: ReachableListener) -> str:
    """With the cure: a command that sends the request from another machine."""
    command = f"curl -i -X {shlex.quote(wanted.method)} {shlex.quote(listener.url + wanted.path)}"
    cure = f"it is sent from the controller's machine to a listener there; from another one: {command}"
    hint = f"; the listener {listener.name} {listener.demand}" if listener.demand else ""
    return f"{error}{hint}; {cure}"


def _answer_to_json(answer: ReceivedAnswer, found: RecordedRequest, listener: ReachableListener) -> GatewayAnswer:
    return GatewayAnswer(
        status=answer.status,
        protocol=answer.protocol,
        listener=listener.name,
        headers=list(answer.headers),
        body=_shown_body(answer),
        duration_ms=round(answer.duration_ms, 3),
        recorded=found.recorded,
        trailers=list(answer.trailers) or UNSET,
        error=answer.error or UNSET,
        request_id=found.request_id or _own_request_id(answer) or UNSET,
        not_recorded=found.why or UNSET,
    )


def _own_request_id(answer: ReceivedAnswer) -> str:
    """That of the gateway's own answers, which say it; "" for others."""
    if dict(answer.headers).get("content-type") != PROBLEM:
        return ""
    try:
        found = msgspec.json.decode(bytes(answer.body))
    except msgspec.DecodeError:
        return ""
    return str(found.get("requestId", "")) if isinstance(found, dict) else ""


def _shown_body(answer: ReceivedAnswer) -> ReceivedBody:
    """As in recordings: text where it is UTF-8."""
    content = bytes(answer.body)
    truncated = True if len(content) < answer.size or answer.error else UNSET
    try:
        text = _text(content, whole=len(content) == answer.size)
    except UnicodeDecodeError:
        return ReceivedBody(size=answer.size, truncated=truncated, base64=base64.b64encode(content).decode())
    return ReceivedBody(size=answer.size, truncated=truncated, text=text)


def _text(content: bytes, *, whole: bool) -> str:
    """Of a beginning, without the character that it ends in the middle of. Raises `UnicodeDecodeError`."""
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        if whole or error.reason != "unexpected end of data":
            raise
        return content[: error.start].decode()


def _refused(mistakes: Sequence[Mistake]) -> Problem:
    count = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
    return Problem(422, f"{count} in the request", mistakes=mistakes)


PART = Part(
    "Requests to the gateway",
    RequestEndpoints,
    (
        Row(
            "sendRequest",
            "POST",
            "/v1/requests",
            RequestEndpoints.send,
            "requests:send",
            "Sends a request to the gateway, as a client on the controller's machine would.",
            {200: Answer("What the gateway answered, whatever its status.", (GatewayAnswer,))},
            body=Body((WantedRequest,)),
            refusals=(409, 413, 415, 422, 502, 503, 504),
            audit="all",
        ),
    ),
)
