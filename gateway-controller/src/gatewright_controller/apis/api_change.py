"""What a write of an API would change, without any secret: a diff of what is shown of it before and after."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from functools import reduce
from typing import Any, Literal

import msgspec
from gatewright_documents.values import JsonValue, KeyPath

from gatewright_controller.model import Api, to_document
from gatewright_controller.resource.api_text import api_text
from gatewright_controller.resource.definitions import Definitions
from gatewright_controller.resource.secrets import mask_paths, masked, restored, versions_by_position
from gatewright_controller.resource.versions import Move, Versions
from gatewright_controller.store import StoredApi, is_same

NEW_SECRET = "a new value"  # noqa: S105 - said of one
MOST_LINES = 6000
"""Of both sides together, without what they begin and end with alike: a diff of more could take seconds."""
CONTEXT = 3
"""Lines around what differs."""


class TriedWrite(msgspec.Struct, frozen=True):
    """A write that was not done. before: what stands in its place now, if anything does."""

    api: Api
    versions: Versions
    before: StoredApi | None


class ApiChange(msgspec.Struct, frozen=True):
    """revision: of what would be replaced, None where nothing is there. moved: attachments that would run another
    version than they do. diff: unified, of the YAML that is shown; a secret that changes has a comment behind its mask.
    """

    kind: Literal["created", "changed", "unchanged"]
    revision: int | None
    moved: tuple[Move, ...]
    diff: str


class Side(msgspec.Struct, frozen=True):
    """One side of a diff. label: what it is called in the diff's head."""

    label: str
    api: Api
    versions: Versions


NOTHING = "/dev/null"
"""The label of a side that is not there."""


def change_of(tried: TriedWrite, definitions: Definitions) -> ApiChange:
    """What the write would do. It may take a while: not for the event loop."""
    before, name = tried.before, tried.api.metadata.name
    after = Side(name, tried.api, tried.versions)
    if before is None:
        return ApiChange("created", None, (), diff_of(None, after, definitions))
    diff = diff_of(Side(f"{name} of revision {before.revision}", before.api, before.versions), after, definitions)
    kind: Literal["changed", "unchanged"] = "unchanged" if is_same(before, tried.api, tried.versions) else "changed"
    return ApiChange(kind, before.revision, tuple(_moved(before, tried)), diff)


def diff_of(before: Side | None, after: Side | None, definitions: Definitions) -> str:
    """Unified, of the YAML that is shown of both sides; a secret that changes has a comment behind its mask."""
    old = api_text(masked(before.api, before.versions, definitions)) if before else ""
    if after is None:
        return unified(old, "", before.label if before else NOTHING, NOTHING)
    shown = masked(after.api, after.versions, definitions)
    kept = restored(shown, before.api, definitions) if before else {}
    raw = to_document(after.api)
    paths = [path for path in mask_paths(shown) if before is None or _at(kept, path) != _at(raw, path)]
    new = api_text(shown, dict.fromkeys(paths, NEW_SECRET))
    return unified(old, new, before.label if before else NOTHING, after.label)


def _at(document: JsonValue, path: KeyPath) -> str:
    """What stands there, as text: in Python, 1 == True."""
    found: Any = reduce(lambda value, step: value[step], path, document)
    return json.dumps(found)


def _moved(before: StoredApi, tried: TriedWrite) -> Iterator[Move]:
    """By where an attachment stands among those of its operation: its index may be another."""
    had = {position: version for position, _, version in versions_by_position(before.api, before.versions)}
    for position, (field, attachment), version in versions_by_position(tried.api, tried.versions):
        if position in had and had[position] != version:
            yield Move(before.name, field, attachment.name, had[position], version)


def unified(before: str, after: str, before_name: str, after_name: str) -> str:
    """A unified diff of two texts, "" where they are the same. Where very much differs, all of it is replaced."""
    old, new = before.splitlines(), after.splitlines()
    start = _alike(old, new)
    end = _alike(old[start:][::-1], new[start:][::-1])
    if len(old) + len(new) - 2 * (start + end) <= MOST_LINES:
        lines = list(difflib.unified_diff(old, new, before_name, after_name, lineterm=""))
    else:
        lines = [f"--- {before_name}", f"+++ {after_name}", *_replaced(old, new, start, end)]
    return "".join(f"{line}\n" for line in lines)


def _replaced(old: list[str], new: list[str], start: int, end: int) -> Iterator[str]:
    """One hunk for all but what both begin and end with."""
    first = max(start - CONTEXT, 0)
    behind = min(end, CONTEXT)
    gone, come = old[start : len(old) - end], new[start : len(new) - end]
    around = start - first + behind
    yield f"@@ -{first + 1},{len(gone) + around} +{first + 1},{len(come) + around} @@"
    yield from (f" {line}" for line in old[first:start])
    yield from (f"-{line}" for line in gone)
    yield from (f"+{line}" for line in come)
    yield from (f" {line}" for line in new[len(new) - end : len(new) - end + behind])


def _alike(lines: list[str], other: list[str]) -> int:
    """How many lines both begin with."""
    pairs = enumerate(zip(lines, other, strict=False))
    return next((index for index, (left, right) in pairs if left != right), min(len(lines), len(other)))
