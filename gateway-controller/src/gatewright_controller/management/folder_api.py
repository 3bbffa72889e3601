"""The management API's /v1/files: what has become of the files that a controller takes all of its APIs from, and the
refusal of writes beside them."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import UNSET
from starlette.requests import Request
from starlette.responses import Response

from gatewright_controller.access import Right
from gatewright_controller.api_folder import ApiFolder
from gatewright_controller.management.bodies import has_body
from gatewright_controller.management.json_answer import JsonAnswer
from gatewright_controller.management.problems import Problem
from gatewright_controller.management.queries import DRY_RUN, flag
from gatewright_controller.management.rows import Answer, Part, Row
from gatewright_controller.management.shapes import folder as shapes
from gatewright_controller.store import API, DEFAULTS, NAMESPACE

WRITES_APIS: Right = "apis:write"
KINDS: Mapping[str, str] = {"defaults:write": DEFAULTS, "namespaces:write": NAMESPACE}
"""What else files alone say, by the right that a write of it needs."""
WITH_APIS, SET = "reloadPolicies", "apply"
"""The ids of the rows that write APIs where their bodies have some."""
OF_FILES = frozenset((API, *KINDS.values()))
"""The kinds that files alone say."""


class FolderEndpoints:
    """folder: None where the controller has none."""

    def __init__(self, folder: ApiFolder | None) -> None:
        self._folder = folder

    async def list(self, _: Request) -> Response:
        """Every document, in the order of files."""
        if self._folder is None:
            return JsonAnswer(shapes.ApiFolder(folder="", trouble="", files=[]))
        files = [
            shapes.ApiDocument(
                file=status.place,
                kind=status.kind,
                api=status.api,
                state=status.state,
                reason=status.reason,
                winner=status.winner or UNSET,
            )
            for status in self._folder.documents
        ]
        return JsonAnswer(shapes.ApiFolder(folder=str(self._folder.folder), trouble=self._folder.trouble, files=files))

    async def refuse_writes(self, row: Row, request: Request) -> None:
        """Raises `Problem` for what would write an API, Defaults or a Namespace. What is only tried or planned is not
        refused."""
        if self._folder is None or not _writes_apis(row, request):
            return
        name, kind = request.path_params.get("name", ""), KINDS.get(row.right or "", API)
        raise refused_beside_files(self._folder, kind, name)


def refused_beside_files(folder: ApiFolder, kind: str, name: str) -> Problem:
    """The refusal of a write of a resource that the files of the folder have, or are to have."""
    place = folder.place_of(name, kind)
    where = f"{name} is in {place} there: change that file" if place else "add, change or delete a file there"
    what = "APIs" if kind == API else "Defaults and Namespaces"
    detail = f"this controller takes its {what} from the files of {folder.folder} alone; {where}"
    return Problem(409, f"{detail}, and it is applied within seconds")


def _writes_apis(row: Row, request: Request) -> bool:
    if row.id == SET:
        return False  # it is refused by its documents
    if row.id == WITH_APIS:
        return has_body(request)
    is_write = row.right in (WRITES_APIS, *KINDS) and row.audit != "nothing"
    return is_write and not (DRY_RUN in row.query and flag(request, DRY_RUN.name))


PART = Part(
    "Files",
    FolderEndpoints,
    (
        Row(
            "listFiles",
            "GET",
            "/v1/files",
            FolderEndpoints.list,
            "nodes:inspect",
            "The files that all APIs are taken from, if the controller does so, and what has become of each document.",
            {200: Answer("The documents, in the order of files.", (shapes.ApiFolder,))},
        ),
    ),
)
