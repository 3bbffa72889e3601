"""The management API's /v1/exchanges and /v1/recordings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec
from gatewright_documents.json_reader import parse_json
from gatewright_documents.mistake import Invalid, Mistake, listed, shown
from gatewright_documents.strict import mistakes_of
from gatewright_documents.values import JsonValue
from starlette.requests import Request
from starlette.responses import Response

from gatewright_controller.access import NotPermittedError
from gatewright_controller.apis.controller import Controller
from gatewright_controller.management.callers import permit_of
from gatewright_controller.management.exchange_stream import (
    JSON_LINES,
    SERVER_SENT_EVENTS,
    ExchangeStream,
    media_type_for,
)
from gatewright_controller.management.json_answer import JsonAnswer, shaped
from gatewright_controller.management.json_body import json_body
from gatewright_controller.management.pages import PAGED, page_of
from gatewright_controller.management.problems import Problem
from gatewright_controller.management.queries import flag, whole_number
from gatewright_controller.management.rows import JSON, Answer, Body, Parameter, Part, Row
from gatewright_controller.management.shapes import exchanges as shapes
from gatewright_controller.management.shapes import llm_exchange as llm_shapes
from gatewright_controller.management.shapes.exchanges import DEFAULT_SECONDS, LONGEST_SECONDS, WantedRecording
from gatewright_controller.nodes.watching import Recording, TooManyError, Watching
from gatewright_controller.resource.exchange_filter import CLIENT, MEMBERS, ExchangeFilter, from_query
from gatewright_controller.times import timestamp

MOST_EXCHANGES = 1_000_000
MAX_BODY_BYTES = 64 * 1024
MOST_LISTED = 20
RETRY_SECONDS = "10"
KEPT = (
    "nodes keep the newest exchanges that are watched (GET /v1/exchanges, `gatewright tail`) or recorded (POST "
    "/v1/recordings, `gatewright record`); start one of these, and repeat the request"
)


@dataclass(frozen=True)
class ExchangeTimes:
    """How long nodes are waited for: for what they have kept, and until they record; and clients without news."""

    find_seconds: float = 5.0
    begin_seconds: float = 2.0
    keep_alive_seconds: float = 15.0


class ExchangeEndpoints:
    """The exchanges that nodes report: docs/reference/recordings.md."""

    def __init__(self, watching: Watching, controller: Controller, times: ExchangeTimes = ExchangeTimes()) -> None:
        self._watching, self._controller, self._times = watching, controller, times

    async def watch(self, request: Request) -> Response:
        """`GET /v1/exchanges`: a stream of those that fit and end from now on or, `kept`, of those that nodes have."""
        media_type = media_type_for(request)
        exchange_filter = self._from_query(request)
        await self._refuse_other(request, exchange_filter.api)
        seconds = whole_number(request, "seconds", DEFAULT_SECONDS, 1, LONGEST_SECONDS)
        limit, kept = whole_number(request, "limit", 0, 1, MOST_EXCHANGES), flag(request, "kept")
        if request.method == "HEAD":
            return Response(media_type=media_type)
        try:
            watcher = self._watching.watch(exchange_filter.encoded(), kept=kept, seconds=seconds, limit=limit)
        except TooManyError as error:
            raise Problem(503, f"{error}; end one, or try again later", {"retry-after": RETRY_SECONDS}) from None
        keep_alive_seconds = self._times.keep_alive_seconds
        return ExchangeStream(watcher, media_type, keep_alive_seconds, lambda: self._watching.end_watch(watcher))

    async def get(self, request: Request) -> Response:
        """`GET /v1/exchanges/ID`: one that a node has kept, the newest of those with this request id; 404."""
        newest = await self._find(request)
        return Response(newest, media_type=JSON)

    async def get_llm(self, request: Request) -> Response:
        """`GET /v1/llm-exchanges/ID`: the same, read as an exchange with a language model; 204 if it is none."""
        from gatewright_controller.management.llm_view import read_llm_exchange  # here, for a start without it

        shown = read_llm_exchange(msgspec.json.decode(await self._find(request)))
        return Response(status_code=204) if shown is None else JsonAnswer(shown)

    async def _find(self, request: Request) -> bytes:
        """The exchange that the request names. Raises `Problem`, `NotPermittedError`."""
        wanted, seconds = request.path_params["id"], self._times.find_seconds
        found = await self._watching.find(ExchangeFilter(id=wanted).encoded(), seconds)
        if found.exchanges:
            newest = max(found.exchanges, key=_started_at)
            await self._refuse_other(request, _api_of(newest))
            return newest
        if found.silent:
            raise Problem(504, f"expected an answer within {seconds:g} s, got none of {listed(found.silent)}")
        raise Problem(404, f"no node has an exchange {wanted}{self._missing_reports()}; {KEPT}")

    async def record(self, request: Request) -> Response:
        """`POST /v1/recordings`: {"filter": {…}, "seconds": N}, both optional; 201 with the recording, once nodes
        record (after 2 s, whether or not); 409, 422.
        """
        document = parse_json(await json_body(request, MAX_BODY_BYTES))
        if mistakes := list(mistakes_of(WantedRecording, document)):
            raise _refused(422, mistakes)
        wanted = msgspec.convert(document, WantedRecording)
        self._refuse_unknown(wanted.filter, "filter.", 422)
        await self._refuse_other(request, wanted.filter.api)
        try:
            recording = self._watching.record(wanted.filter.encoded(), wanted.seconds)
        except TooManyError as error:
            raise Problem(409, f"{error}; end one (DELETE /v1/recordings/ID), or wait until one is over") from None
        # a node takes what it is asked in order: a node that answers this one records, or has said why it does not
        await self._watching.find(ExchangeFilter(id=recording.id).encoded(), self._times.begin_seconds)
        return JsonAnswer(_shown(recording), 201, {"location": f"/v1/recordings/{recording.id}"})

    async def list_recordings(self, request: Request) -> Response:
        """Those under way, the oldest first."""
        under_way = [
            recording for recording in self._watching.recordings if await self._is_permitted(request, recording)
        ]
        page = page_of(request, sorted(under_way, key=_age), _age)
        return JsonAnswer(page.answer("recordings", _shown))

    async def get_recording(self, request: Request) -> Response:
        """`GET /v1/recordings/ID`; 404 where it is over."""
        return JsonAnswer(_shown(await self._permitted(request)))

    async def end_recording(self, request: Request) -> Response:
        """`DELETE /v1/recordings/ID`: 204. What nodes have recorded they keep."""
        self._watching.end_recording((await self._permitted(request)).id)
        return Response(status_code=204)

    async def _permitted(self, request: Request) -> Recording:
        """The recording that the request names. Raises `Problem`, `NotPermittedError`."""
        if (recording := self._watching.recording(request.path_params["id"])) is None:
            raise _no_recording(request)
        await self._refuse_other(request, _filter_of(recording).api)
        return recording

    async def _is_permitted(self, request: Request, recording: Recording) -> bool:
        try:
            await self._refuse_other(request, _filter_of(recording).api)
        except (Problem, NotPermittedError):
            return False
        return True

    async def _refuse_other(self, request: Request, api: str) -> None:
        """api: whose exchanges are asked for; "" for those of all. Raises `Problem`, `NotPermittedError`."""
        permit = permit_of(request)
        if permit.apis is None:
            return
        if not api or api not in self._controller.deployment.apis:
            raise Problem(
                403, f"expected exchanges of one API, for {permit.actor} is not for all; name it with api=NAME"
            )
        permit.refuse_others((await self._controller.get(api)).api)

    def _from_query(self, request: Request) -> ExchangeFilter:
        parameters = [(name, text) for name, text in request.query_params.multi_items() if name in MEMBERS]
        try:
            exchange_filter = from_query(parameters)
        except Invalid as invalid:
            raise _refused(400, invalid.mistakes) from None
        self._refuse_unknown(exchange_filter, "", 400)
        return exchange_filter

    def _refuse_unknown(self, exchange_filter: ExchangeFilter, root: str, status: int) -> None:
        """A client that misspells a name would wait for ever, and not know why."""
        policies = {f"{definition.name}:{definition.version}" for definition in self._controller.definitions}
        known = {
            "api": self._controller.deployment.apis,
            "policy": policies | {policy.partition(":")[0] for policy in policies},
        }
        mistakes = [
            Mistake.expecting(_one_of(member, names), shown(value), field=f"{root}{member}")
            for member, names in known.items()
            if (value := getattr(exchange_filter, member)) and value not in names
        ]
        if mistakes:
            raise _refused(status, mistakes)

    def _missing_reports(self) -> str:
        """The nodes that report no exchanges, with reasons."""
        silent = [f"{node.id}: {node.reason}" for node in self._watching.observations.nodes() if node.reason]
        return f" ({'; '.join(silent)})" if silent else ""


def _one_of(member: str, names: Iterable[str]) -> str:
    found = sorted(names)
    more = f" (and {len(found) - MOST_LISTED} more)" if len(found) > MOST_LISTED else ""
    return f"one of {listed(found[:MOST_LISTED])}{more}" if found else f"no {member}, for there is none"


def _refused(status: int, mistakes: Sequence[Mistake]) -> Problem:
    return Problem(status, "; ".join(map(str, mistakes)), mistakes=mistakes)


def _shown(recording: Recording) -> shapes.RecordingUnderWay:
    return shapes.RecordingUnderWay(
        id=recording.id,
        filter=_filter_of(recording),
        seconds=recording.seconds,
        started_at=timestamp(recording.started_at),
        ends_at=timestamp(recording.ends_at),
        nodes=shaped(list[shapes.ObservedNode], recording.nodes()),
    )


def _filter_of(recording: Recording) -> ExchangeFilter:
    return msgspec.json.decode(recording.filter, type=ExchangeFilter)


def _age(recording: Recording) -> str:
    return f"{recording.started_at.isoformat(timespec='microseconds')},{recording.id}"


def _started_at(exchange: bytes) -> str:
    found: JsonValue = msgspec.json.decode(exchange)
    return str(found.get("startedAt", ""))


def _api_of(exchange: bytes) -> str:
    found: JsonValue = msgspec.json.decode(exchange)
    return str(found.get("api", ""))


def _no_recording(request: Request) -> Problem:
    wanted = request.path_params["id"]
    return Problem(404, f"no recording {wanted} is under way; GET /v1/recordings lists those that are")


_EXCHANGE_ID = Parameter("id", {"type": "string"}, "The request id.")
_RECORDING_ID = Parameter("id", {"type": "string"}, "Of the recording.")
_TEXT = {"type": "string", "maxLength": 4096}
PARAMETERS = (
    Parameter("api", _TEXT, "Its name."),
    Parameter("operation", _TEXT, "`GET /{id}`"),
    Parameter("policy", _TEXT, "NAME:VERSION or a name: the chain has it."),
    Parameter("path", _TEXT, "Beginning of the client's path, without the query."),
    Parameter("header", _TEXT, "NAME or NAME=VALUE, of the client's request."),
    Parameter(
        "status",
        {"type": "array", "items": {"type": "string"}, "maxItems": 32},
        "`503` or `5xx`; repeatable, or joined by commas.",
    ),
    Parameter("errors", {"type": "boolean", "default": False}, "Only exchanges with an error."),
    Parameter(
        "shadow",
        {"enum": ["different", "same", "failed", "skipped"]},
        "An execution of a shadow attachment has ended so.",
    ),
    Parameter("id", _TEXT, "The request id."),
    Parameter("client", {**_TEXT, "pattern": CLIENT}, "An address, with the port or without."),
    Parameter("sample", {"type": "number", "minimum": 0, "maximum": 1, "default": 1}, "Share of those that fit."),
    Parameter("kept", {"type": "boolean", "default": False}, "Exchanges that nodes have kept, instead of new ones."),
    Parameter(
        "limit",
        {"type": "integer", "minimum": 1, "maximum": MOST_EXCHANGES},
        "The number of exchanges after which the stream ends; no limit by default.",
    ),
    Parameter(
        "seconds",
        {"type": "integer", "minimum": 1, "maximum": LONGEST_SECONDS, "default": DEFAULT_SECONDS},
        "The duration of the stream.",
    ),
)

PART = Part(
    "Exchanges",
    ExchangeEndpoints,
    (
        Row(
            "watchExchanges",
            "GET",
            "/v1/exchanges",
            ExchangeEndpoints.watch,
            "exchanges:read",
            "A stream of the exchanges that fit and end from now on, of all nodes.",
            {200: Answer("Events, until the stream ends.", (str,), (SERVER_SENT_EVENTS, JSON_LINES))},
            query=PARAMETERS,
            refusals=(406, 503),
        ),
        Row(
            "getExchange",
            "GET",
            "/v1/exchanges/{id:text}",
            ExchangeEndpoints.get,
            "exchanges:read",
            "The newest exchange of this request id that a node has kept.",
            {200: Answer("The exchange, as the engine made it.", (shapes.Exchange,))},
            in_path=(_EXCHANGE_ID,),
            refusals=(404, 504),
        ),
        Row(
            "getLlmExchange",
            "GET",
            "/v1/llm-exchanges/{id:text}",
            ExchangeEndpoints.get_llm,
            "exchanges:read",
            "The same exchange, read as one with a language model.",
            {
                200: Answer("Prompt, answer, tokens and verdicts.", (llm_shapes.LlmExchange,)),
                204: Answer("It is none with a language model."),
            },
            in_path=(_EXCHANGE_ID,),
            refusals=(404, 504),
        ),
        Row(
            "listRecordings",
            "GET",
            "/v1/recordings",
            ExchangeEndpoints.list_recordings,
            "exchanges:read",
            "The recordings under way, the oldest first.",
            {200: Answer("The recordings.", (shapes.RecordingList,))},
            query=PAGED,
        ),
        Row(
            "createRecording",
            "POST",
            "/v1/recordings",
            ExchangeEndpoints.record,
            "exchanges:read",
            "Has nodes keep the exchanges that fit a filter, for a time.",
            {
                201: Answer(
                    "Nodes record, or have said why not.", (shapes.RecordingUnderWay,), headers={"location": "Of it."}
                )
            },
            body=Body((WantedRecording,)),
            refusals=(409, 413, 415, 422),
            audit="all",
        ),
        Row(
            "getRecording",
            "GET",
            "/v1/recordings/{id}",
            ExchangeEndpoints.get_recording,
            "exchanges:read",
            "A recording under way.",
            {200: Answer("The recording.", (shapes.RecordingUnderWay,))},
            in_path=(_RECORDING_ID,),
            refusals=(404,),
            audit="all",
        ),
        Row(
            "deleteRecording",
            "DELETE",
            "/v1/recordings/{id}",
            ExchangeEndpoints.end_recording,
            "exchanges:read",
            "Ends a recording; nodes keep what they have recorded.",
            {204: Answer("It has ended.")},
            in_path=(_RECORDING_ID,),
            refusals=(404,),
            audit="all",
        ),
    ),
)
