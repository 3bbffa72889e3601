"""The management API's /v1/exchanges and /v1/recordings."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Annotated

import msgspec
from gatewright_documents.json_reader import parse_json
from gatewright_documents.mistake import Invalid, Mistake, listed, shown
from gatewright_documents.strict import described, mistakes_of
from gatewright_documents.values import JsonObject, JsonValue
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gatewright_controller.apis.controller import Controller
from gatewright_controller.management.exchange_stream import ExchangeStream, media_type_for
from gatewright_controller.management.json_body import JSON, json_body
from gatewright_controller.management.problems import Problem
from gatewright_controller.management.queries import flag, whole_number
from gatewright_controller.model import Strict
from gatewright_controller.nodes.watching import Recording, TooManyError, Watching
from gatewright_controller.resource.exchange_filter import MEMBERS, ExchangeFilter, from_query

LONGEST_SECONDS = 3600
DEFAULT_SECONDS = 600
MOST_EXCHANGES = 1_000_000
MAX_BODY_BYTES = 64 * 1024
MOST_LISTED = 20
RETRY_SECONDS = "10"
PARAMETERS = (*MEMBERS, "kept", "limit", "seconds")
KEPT = (
    "nodes keep the newest exchanges that are watched (GET /v1/exchanges, `gatewright tail`) or recorded (POST "
    "/v1/recordings, `gatewright record`); start one of these, and repeat the request"
)


class _Wanted(Strict, frozen=True):
    """The body of POST /v1/recordings."""

    filter: ExchangeFilter = ExchangeFilter()
    seconds: Annotated[int, described(f"seconds from 1 to {LONGEST_SECONDS}", ""), Meta(ge=1, le=LONGEST_SECONDS)] = (
        DEFAULT_SECONDS
    )


@dataclasses.dataclass(frozen=True)
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
        wanted, seconds = request.path_params["id"], self._times.find_seconds
        found = await self._watching.find(ExchangeFilter(id=wanted).encoded(), seconds)
        if found.exchanges:
            return Response(max(found.exchanges, key=_started_at), media_type=JSON)
        if found.silent:
            raise Problem(504, f"expected an answer within {seconds:g} s, got none of {listed(found.silent)}")
        raise Problem(404, f"no node has an exchange {wanted}{self._missing_reports()}; {KEPT}")

    async def record(self, request: Request) -> Response:
        """`POST /v1/recordings`: {"filter": {…}, "seconds": N}, both optional; 201 with the recording, once nodes
        record (after 2 s, whether or not); 409, 422.
        """
        document = parse_json(await json_body(request, MAX_BODY_BYTES))
        if mistakes := list(mistakes_of(_Wanted, document)):
            raise _refused(422, mistakes)
        wanted = msgspec.convert(document, _Wanted)
        self._refuse_unknown(wanted.filter, "filter.", 422)
        try:
            recording = self._watching.record(wanted.filter.encoded(), wanted.seconds)
        except TooManyError as error:
            raise Problem(409, f"{error}; end one (DELETE /v1/recordings/ID), or wait until one is over") from None
        # a node takes what it is asked in order: a node that answers this one records, or has said why it does not
        await self._watching.find(ExchangeFilter(id=recording.id).encoded(), self._times.begin_seconds)
        return JSONResponse(_shown(recording), 201, {"location": f"/v1/recordings/{recording.id}"})

    async def list_recordings(self, _: Request) -> Response:
        """`GET /v1/recordings`: those under way, the oldest first."""
        return JSONResponse({"recordings": [_shown(recording) for recording in self._watching.recordings]})

    async def get_recording(self, request: Request) -> Response:
        """`GET /v1/recordings/ID`; 404 where it is over."""
        if (recording := self._watching.recording(request.path_params["id"])) is None:
            raise _no_recording(request)
        return JSONResponse(_shown(recording))

    async def end_recording(self, request: Request) -> Response:
        """`DELETE /v1/recordings/ID`: 204. What nodes have recorded they keep."""
        if not self._watching.end_recording(request.path_params["id"]):
            raise _no_recording(request)
        return Response(status_code=204)

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


def _shown(recording: Recording) -> JsonObject:
    return {
        "id": recording.id,
        "filter": msgspec.json.decode(recording.filter),
        "seconds": recording.seconds,
        "startedAt": _time(recording.started_at),
        "endsAt": _time(recording.ends_at),
        "nodes": [dataclasses.asdict(node) for node in recording.nodes()],
    }


def _time(when: datetime) -> str:
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _started_at(exchange: bytes) -> str:
    found: JsonValue = msgspec.json.decode(exchange)
    return str(found.get("startedAt", ""))


def _no_recording(request: Request) -> Problem:
    wanted = request.path_params["id"]
    return Problem(404, f"no recording {wanted} is under way; GET /v1/recordings lists those that are")
