"""The management API's /v1/state: what a new node would be sent now, signed, to start from without a controller."""

from __future__ import annotations

import re

from starlette.requests import Request
from starlette.responses import Response

from gatewright_controller.management.callers import caller_of
from gatewright_controller.management.json_answer import JsonAnswer
from gatewright_controller.management.problems import Problem
from gatewright_controller.management.rows import Answer, Parameter, Part, Row
from gatewright_controller.management.shapes.state import StateExport
from gatewright_controller.model.common import LABEL_KEY, LABEL_VALUE
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
        labels = _labels(request)
        if why := caller_of(request).state_refusal(labels):
            raise Problem(403, why)
        if (etag := f'"{self._states.tag(labels)}"') in _tags(request):
            return Response(status_code=304, headers={"etag": etag})
        tag, document = await self._states.document(labels)
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


def _labels(request: Request) -> dict[str, str] | None:
    """Those of the nodes that the state is asked for; None: nodes of any labels."""
    texts = request.query_params.getlist(NODE_LABEL.name)
    if wrong := [text for text in texts if not re.fullmatch(NODE_LABEL.schema["items"]["pattern"], text)]:
        raise Problem(400, f"label: expected KEY=VALUE, got {wrong[0]!r}")
    return {key: value for key, _, value in (text.partition("=") for text in texts)} or None


NODE_LABEL = Parameter(
    "label",
    {
        "type": "array",
        "items": {"type": "string", "pattern": f"^{LABEL_KEY}={LABEL_VALUE}$", "examples": ["zone=eu"]},
    },
    "A label of the nodes that the state is for; given several times: all their labels. Without it the state is for "
    "all nodes, each of which takes from it what is for its labels.",
)
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
            query=(NODE_LABEL,),
            headers=(IF_NONE_MATCH,),
            refusals=(400, 403, 404),
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
