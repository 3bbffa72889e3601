"""Parameters that are written and never shown: those whose schema says `writeOnly: true` or `format: password`.

A client that sends a mask back means what is stored at its place; a mask where none is stored is a mistake.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import TypeVar

import msgspec
from gatewright_documents.mistake import Mistake, format_path
from gatewright_documents.secret_masks import MASK
from gatewright_documents.values import JsonObject, JsonValue, KeyPath

from gatewright_controller.model import Api, HeaderMatch, PolicyAttachment, QueryMatch, to_document
from gatewright_controller.resource.definitions import Definition, Definitions
from gatewright_controller.resource.matches import all_matches, name_of, operation_name
from gatewright_controller.resource.versions import Versions, attachments

T = TypeVar("T")
Position = tuple[str, str, int]
"""Where an attachment stands: operation ("" for the API's own), policy, and how many of it stand before."""


def masked(api: Api, versions: Versions, definitions: Definitions) -> JsonObject:
    """The API as it may be shown. Of a policy that the build no longer has, no parameter is."""
    document = to_document(api)
    found = zip(_positioned_documents(document), attachments(api), versions, strict=True)
    for (_, attachment), (_, asked), version in found:
        if params := attachment.get("params"):
            definition = definitions.find(asked.name, version)
            attachment["params"] = definition.parameters.masked(params) if definition else dict.fromkeys(params, MASK)
    return document


def restored(document: JsonObject, stored: Api, definitions: Definitions) -> JsonObject:
    """The document with what is stored in the place of masks, wherever it can be read and something is."""
    if next(mask_paths(document), None) is None:
        return document
    filled = copy.deepcopy(document)
    before = {position: attachment.params for position, attachment in _positioned(stored)}
    for position, attachment in _positioned_documents(filled):
        definition = _meant(attachment, definitions)
        params = attachment.get("params")
        if definition and isinstance(params, dict) and position in before:
            attachment["params"] = definition.parameters.restored(params, before[position])
    return filled


def mask_mistakes(field: str, params: JsonObject) -> Iterator[Mistake]:
    """Masks that were sent and stand for nothing; also where no secret is: another version may have one there."""
    for path in mask_paths(params):
        where = format_path(path, f"{field}.params")
        yield Mistake(where, f"expected the secret itself, got {MASK}, its mask, and none is stored at this place")


def mask_paths(value: JsonValue, path: KeyPath = ()) -> Iterator[KeyPath]:
    """Where masks stand in it."""
    if value == MASK:
        yield path
    elif isinstance(value, dict | list):
        for step, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from mask_paths(item, (*path, step))


def versions_by_position(api: Api, versions: Versions) -> Iterator[tuple[Position, tuple[str, PolicyAttachment], str]]:
    """Of each attachment where it stands, it itself with its field, and the version that it has."""
    positions = (position for position, _ in _positioned(api))
    yield from zip(positions, attachments(api), versions, strict=True)


def _meant(attachment: JsonObject, definitions: Definitions) -> Definition | None:
    name, version = attachment.get("name"), attachment.get("version")
    if not isinstance(name, str) or not isinstance(version, str):
        return None
    return next(iter(definitions.matching(name, version)), None)


def _positioned(api: Api) -> Iterator[tuple[Position, PolicyAttachment]]:
    levels = [("", api.spec.policies)]
    levels += [(operation_name(operation), operation.policies) for operation in api.spec.operations]
    for level, policies in levels:
        yield from _numbered(level, policies, lambda attachment: attachment.name)


def _positioned_documents(document: JsonObject) -> Iterator[tuple[Position, JsonObject]]:
    spec = document.get("spec")
    if not isinstance(spec, dict):
        return
    yield from _numbered("", _objects(spec.get("policies")), lambda attachment: str(attachment.get("name")))
    for operation in _objects(spec.get("operations")):
        level = _level(operation)
        yield from _numbered(level, _objects(operation.get("policies")), lambda attachment: str(attachment.get("name")))


def _level(operation: JsonObject) -> str:
    """The operation's name. One whose matches cannot be read has none that is stored."""
    name = name_of(str(operation.get("method")), str(operation.get("path")))
    if not operation.get("headers") and not operation.get("query"):
        return name
    try:
        headers = msgspec.convert(operation.get("headers", []), list[HeaderMatch])
        query = msgspec.convert(operation.get("query", []), list[QueryMatch])
        return f"{name} {all_matches(headers, query).label}"
    except (msgspec.ValidationError, IndexError):
        return f"{name} ?"


def _numbered(level: str, items: list[T], name: Callable[[T], str]) -> Iterator[tuple[Position, T]]:
    counted: dict[str, int] = {}
    for item in items:
        key = name(item)
        yield (level, key, counted.get(key, 0)), item
        counted[key] = counted.get(key, 0) + 1


def _objects(value: JsonValue) -> list[JsonObject]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
