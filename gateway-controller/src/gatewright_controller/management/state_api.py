"""The management API's /v1/state: what a new node would be sent now, signed, to start from without a controller."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from gatewright_controller.management.json_answer import JsonAnswer
from gatewright_controller.management.problems import Problem
from gatewright_controller.management.rows import Answer, Parameter, Part, Row
from gatewright_controller.management.shapes.state import StateExport
from gatewright_controller.nodes.states import NO_KEY, Export, States

MEDIA_TYPE = "application/octet-stream"


class StateEndpoints:
    """states: None where no key signs them; export: None where they are written to no place."""

    def __init__(self, states: States | None, export: Export | None) -> None:
        self._states, self._export = states, export

    async def get(self, request: Request) -> Response:
        """The document; 304 to a client that has it already, 404 without a key."""
        if self._states is None:
            raise Problem(404, NO_KEY)
        if f'"{self._states.tag}"' in _tags(request):
            return Response(status_code=304, headers={"etag": f'"{self._states.tag}"'})
        tag, document = await self._states.document()
        headers = {"etag": f'"{tag}"', "cache-control": "no-store"}
        return Response(document, media_type=MEDIA_TYPE, headers=headers)

    async def export(self, _: Request) -> Response:
        """Where the state is written, and whether it is there."""
        if self._export is None:
            return JsonAnswer(StateExport(place=""))
        status = self._export.status
        return JsonAnswer(
            StateExport(
                place=status.place,
                revision=status.revision,
                exported_at=status.at,
                error=status.error,
                failures=status.failures,
            )
        )


def _tags(request: Request) -> list[str]:
    lines = request.headers.getlist("if-none-match")
    return [tag.strip().removeprefix("W/") for line in lines for tag in line.split(",")]


IF_NONE_MATCH = Parameter(
    "if-none-match",
    {"type": "string", "examples": ['"12-0123456789abcdef"']},
    "The ETag of the state that the client has: 304 while it is the present one.",
)

PART = Part(
    "The state of nodes",
    StateEndpoints,
    (
        Row(
            "getState",
            "GET",
            "/v1/state",
            StateEndpoints.get,
            "nodes:connect",
            "What a new node would be sent now, signed: a node starts from it without a controller.",
            {
                200: Answer("A signed state.", (str,), (MEDIA_TYPE,), {"etag": "Names the state."}),
                304: Answer("The client has the present state.", headers={"etag": "Names the state."}),
            },
            headers=(IF_NONE_MATCH,),
            refusals=(404,),
        ),
        Row(
            "getStateExport",
            "GET",
            "/v1/state/export",
            StateEndpoints.export,
            "nodes:inspect",
            "Where this controller exports the state to, and what became of the newest export.",
            {200: Answer("The export.", (StateExport,))},
        ),
    ),
)
