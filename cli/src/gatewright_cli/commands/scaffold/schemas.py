"""The JSON Schemas that editors check and complete a project's files by, as files that need no network."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from gatewright_builder.manifest_schema import manifest_schema
from gatewright_controller.resource import editor_schemas
from gatewright_controller.resource.definitions import Definitions, load_definitions
from gatewright_documents.mistake import Invalid
from gatewright_documents.values import JsonObject

from gatewright_cli.commands.options import DEFINITIONS, OUTPUT, STATE_DIR
from gatewright_cli.commands.scaffold.template import write_texts
from gatewright_cli.mistakes import PreflightError

FOLDER = STATE_DIR / "schemas"
"""In a project: the folder that its files name in their first line."""
SCHEMAS: dict[str, Callable[[], JsonObject]] = dict(
    sorted({"build": manifest_schema, **editor_schemas.SCHEMAS}.items())
)


def schema_text(kind: str, build: Path | None = None) -> str:
    """The schema of a kind of document as JSON. build: the build output whose policies and parameters the schema of an
    API includes.

    Raises PreflightError if the build's definitions are missing or invalid.
    """
    schema = editor_schemas.api_schema(_definitions(build)) if build is not None and kind == "api" else SCHEMAS[kind]()
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def write_schemas(project: Path, build: Path | None = None, *, anew: bool = True) -> list[Path]:
    """Writes all schemas into the project's folder for them. Returns the files, relative to the project.

    anew: False keeps existing files. Raises PreflightError.
    """
    paths = {kind: FOLDER / f"{kind}.json" for kind in SCHEMAS}
    wanted = {kind: path for kind, path in paths.items() if anew or not (project / path).exists()}
    texts = {PurePosixPath(path): schema_text(kind, build) for kind, path in wanted.items()}
    _make_state_dir(project / STATE_DIR)
    write_texts(texts, project)
    return [Path(path) for path in texts]


def _make_state_dir(folder: Path) -> None:
    """Makes the state directory as a run does, for the user alone: it will hold the run's database."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise PreflightError([f"{folder}: {error.strerror}: choose another folder"]) from error


def built() -> Path | None:
    """The build output of the folder's project, if there is one."""
    return OUTPUT if (OUTPUT / DEFINITIONS).is_dir() else None


def _definitions(build: Path) -> Definitions:
    try:
        return load_definitions(build / DEFINITIONS)
    except Invalid as invalid:
        raise PreflightError([f"--build {build}: {mistake}" for mistake in invalid.mistakes]) from invalid
