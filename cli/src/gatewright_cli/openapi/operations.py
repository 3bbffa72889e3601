"""Path items as operations of an `Api`, in the document's order, with comments on what the author should know."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gatewright_controller.resource.paths import PathSyntaxError, parse_path
from gatewright_documents.mistake import shown
from gatewright_documents.values import JsonObject, KeyPath

from gatewright_cli.openapi.paths import Translated, translate_path
from gatewright_cli.openapi.security import requirements
from gatewright_cli.openapi.servers import own_servers
from gatewright_cli.openapi.source import Source

METHODS = ("get", "put", "post", "delete", "options", "head", "patch")
NOT_OURS = ("trace",)
LOOSE_CURE = "import with --no-strict-paths, or change the path"


@dataclass(frozen=True)
class ImportedOperation:
    """An operation of the `Api`. where: its path in the document."""

    method: str
    path: str
    where: KeyPath
    comments: tuple[str, ...]


@dataclass(frozen=True)
class Scope:
    """under: import only operations below this path, without it; "" for all. strict: whether `strictPaths` is on. url:
    that of the document's first server.
    """

    under: str
    strict: bool
    url: str


def operations(source: Source, scope: Scope) -> list[ImportedOperation]:
    """All operations of the document. Mistakes and notes go to `source`."""
    first: dict[tuple[str, object], ImportedOperation] = {}
    for operation in _all(source, scope):
        earlier = first.setdefault((operation.method, parse_path(operation.path).shape), operation)
        if earlier is not operation:
            before = f"{earlier.method} {earlier.path}, which line {source.line(earlier.where)} has"
            source.note(operation.where, f"left out: {operation.where[1]!r} is the same route as {before}")
    return list(first.values())


def _all(source: Source, scope: Scope) -> Iterator[ImportedOperation]:
    for path in source.object_at("paths"):
        if path.startswith("x-"):
            continue
        where: KeyPath = ("paths", path)
        change = _path(source, where, path, scope)
        if change:
            yield from _of_item(source, where, path, change, scope)


def _path(source: Source, where: KeyPath, path: str, scope: Scope) -> Translated | None:
    """The path as an `Api` writes it, below `under`; None if it is outside of `under`, or a mistake."""
    try:
        change = translate_path(path)
    except PathSyntaxError as error:
        source.wrong(where, str(error).removeprefix("expected "), cure="change the path")
        return None
    doubtful = parse_path(change.path).doubtful
    if scope.under:
        if change.path != scope.under and not change.path.startswith(f"{scope.under}/"):
            return None
        change = Translated(change.path[len(scope.under) :] or "/", change.changes)
    if scope.strict and doubtful:
        expected = "no ';' and no doubly encoded character under strictPaths, which is the default"
        source.wrong(where, expected, shown(path), LOOSE_CURE)
        return None
    return change


def _of_item(
    source: Source, where: KeyPath, path: str, change: Translated, scope: Scope
) -> Iterator[ImportedOperation]:
    located = source.resolve(source.at(where), where)
    if located is None:
        return
    if not isinstance(located.value, dict):
        source.wrong(where, "an object with operations", shown(located.value), "fix it")
        return
    about = [f"{path!r} in the document: {reason}" for reason in change.changes]
    for text in about:
        source.note(where, text)
    item: JsonObject = located.value
    for name, operation in item.items():
        at = (*where, name) if located.path == where else (*located.path, name)
        if name in NOT_OURS:
            source.note(at, f"left out: {name.upper()} {path}, a method that the gateway does not pass on")
        elif name in METHODS and isinstance(operation, dict):
            comments = _comments(source, at, located.path, operation, scope)
            yield ImportedOperation(name.upper(), change.path, at, (*comments, *about))
        elif name in METHODS:
            source.wrong(at, "an object that describes an operation", shown(operation), "fix it")


def _comments(source: Source, at: KeyPath, item: KeyPath, operation: JsonObject, scope: Scope) -> Iterator[str]:
    summary = operation.get("summary") or operation.get("description")
    texts = [str(text) for text in (operation.get("operationId"), summary) if text]
    if operation.get("deprecated") is True:
        texts.append("deprecated")
    if texts:
        yield ": ".join(texts)
    yield from requirements(source, (*at, "security"))
    if own := own_servers(source, at, scope.url) or own_servers(source, item, scope.url):
        source.note(at, f"has a server of its own, {own}, but its requests go to the API's upstream")
        yield f"server in the document: {own}"
