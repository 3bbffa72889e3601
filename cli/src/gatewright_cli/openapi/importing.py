"""Makes an `Api` resource of an OpenAPI document that the controller accepts, or lists all mistakes."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath

from gatewright_controller.resource.definitions import Definitions
from gatewright_controller.validation import validate
from gatewright_documents.mistake import Invalid, Mistake, listed, shown
from gatewright_documents.values import JsonObject, JsonValue, KeyPath

from gatewright_cli.openapi.api_text import Comments, api_text
from gatewright_cli.openapi.operations import ImportedOperation, Scope, operations
from gatewright_cli.openapi.security import requirements
from gatewright_cli.openapi.servers import Place, place_of, with_path
from gatewright_cli.openapi.source import Note, Source, read

MOST_OPERATIONS = 1000
LONGEST_NAME = 63
LONGEST_VERSION = 32
LONGEST_TITLE = 200
MOST_EXAMPLES = 5
DEFAULT_VERSION = "v1"


@dataclass(frozen=True)
class Choices:
    """Choices that override the document.

    name, context: of the API. upstream: its URL. under: import only operations below this path. strict_paths: the
    API's `strictPaths`.
    """

    name: str | None = None
    context: str | None = None
    upstream: str | None = None
    under: str = ""
    strict_paths: bool = True


@dataclass(frozen=True)
class Imported:
    """text: an `Api` in YAML. notes: differences from the document, and choices made, by lines."""

    text: str
    notes: list[Note]


def import_openapi(body: bytes, file: str, choices: Choices) -> Imported:
    """The API of a document, whose name in mistakes is `file`.

    Raises `Invalid` with what to change in the document, by line, or which option to use.
    """
    source = read(body, file)
    info = source.object_at("info")
    under = choices.under.rstrip("/")
    place = place_of(source, choices.upstream)
    scope = Scope(under, choices.strict_paths, place.url)
    imported = operations(source, scope)
    _check_number(source, imported, choices.under)
    spec: JsonObject = {
        "displayName": _title(source, info, choices.name),
        "version": _version(source, info),
        "context": choices.context or place.context.rstrip("/") + under or "/",
        "upstream": {"main": {"url": with_path(place.url, under) if place.url else ""}},
        **({} if choices.strict_paths else {"strictPaths": False}),
        "operations": [{"method": operation.method, "path": operation.path} for operation in imported],
    }
    name = choices.name or (_name(source, spec["displayName"]) if spec["displayName"] else "")
    source.check()
    document = {"apiVersion": "gatewright.dev/v1", "kind": "Api", "metadata": {"name": name}, "spec": spec}
    _check(source, document, imported, choices)
    if spec["context"] == "/":
        source.note(("servers",), "the context is /: the API takes all paths that no other has; see --context")
    return Imported(api_text(document, _comments(source, place, imported)), sorted(set(source.notes)))


def _comments(source: Source, place: Place, imported: Sequence[ImportedOperation]) -> Comments:
    top = f"Imported from {PurePath(source.file).name} (OpenAPI {source.value['openapi']})"
    security = requirements(source, ("security",), "security of operations that say no other")
    return Comments((top,), place.comments, security, tuple(operation.comments for operation in imported))


def _title(source: Source, info: JsonObject, instead: str | None) -> str:
    title = info.get("title")
    if isinstance(title, str) and title.strip():
        return " ".join(title.split())[:LONGEST_TITLE]
    if instead is None:
        got = "nothing" if title is None else shown(title)
        source.wrong(("info", "title"), "a title", got, "write one, or use --name")
    return instead or ""


def _name(source: Source, title: str) -> str:
    """The title in the characters that names may have."""
    letters = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    name = re.sub("[^a-z0-9]+", "-", letters).strip("-")[:LONGEST_NAME].strip("-")
    if not name:
        expected = "a title with letters from a to z, or digits, for the API's name"
        source.wrong(("info", "title"), expected, shown(title), "use --name")
    return name


def _version(source: Source, info: JsonObject) -> str:
    version: JsonValue = info.get("version")
    text = "" if version is None or isinstance(version, bool | dict | list) else str(version)
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", text)[:LONGEST_VERSION].strip("._-") or DEFAULT_VERSION
    if name != version:
        source.note(("info", "version"), f"the version {shown(version)} is {name!r} in the API")
    return name


def _check_number(source: Source, imported: Sequence[ImportedOperation], under: str) -> None:
    if not imported and not source.mistakes:
        cure = "correct --paths" if under else "add one"
        source.wrong(("paths",), f"at least one operation{f' below {under}' if under else ''}", "none", cure)
    if len(imported) > MOST_OPERATIONS:
        paths = [operation.path for operation in imported if "{" not in operation.path[:2]]
        firsts = Counter(f"{under.rstrip('/')}/{path.split('/')[1]}" for path in paths)
        parts = listed([f"{path} ({number})" for path, number in firsts.most_common(MOST_EXAMPLES)])
        cure = f"import a part of it with --paths, such as {parts}"
        source.wrong(("paths",), f"at most {MOST_OPERATIONS} operations in an API", str(len(imported)), cure)


def _check(source: Source, document: JsonObject, imported: Sequence[ImportedOperation], choices: Choices) -> None:
    """Validates as the controller does. Raises `Invalid` with the line of the document for each mistake."""
    try:
        validate(document, Definitions(()), {})
    except Invalid as invalid:
        raise Invalid([_locate(source, mistake, imported, choices) for mistake in invalid.mistakes]) from None


def _locate(source: Source, mistake: Mistake, imported: Sequence[ImportedOperation], choices: Choices) -> Mistake:
    """The mistake with the line of the document, or the option, that it comes from."""
    where: KeyPath = ()
    option = ""
    match re.split(r"[.\[\]]+", mistake.field):
        case ["metadata", "name", *_]:
            where, option = ("info", "title"), "--name"
        case ["spec", "context", *_]:
            where, option = ("servers",), "--context"
        case ["spec", "upstream", *_]:
            where, option = ("servers",), "--upstream"
        case ["spec", "operations", index, *_] if index.isdecimal():
            where = imported[int(index)].where
    value = {"--name": choices.name, "--context": choices.context, "--upstream": choices.upstream}.get(option)
    if value is not None:
        return Mistake(option, mistake.message)
    cure = f"; use {option}" if option else ""
    return replace(mistake, message=mistake.message + cure, file=source.file, line=source.line(where))
