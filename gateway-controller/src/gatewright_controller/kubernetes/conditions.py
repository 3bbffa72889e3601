"""What is written of a status: a draft of this controller, merged with what the object has.

A condition keeps its time while its status is the same. Entries of other controllers stay as they are, in their places.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any

from gatewright_documents.values import JsonObject

BY_CONTROLLER: Mapping[str, tuple[str, ...]] = {
    "parents": ("parentRef", "controllerName"),
    "ancestors": ("ancestorRef", "controllerName"),
}
"""Lists of a status that several controllers write, and what makes an entry of theirs the same."""
REF_DEFAULTS: JsonObject = {"group": "gateway.networking.k8s.io", "kind": "Gateway"}
"""That the API server writes into references of entries."""


def merge_status(live: JsonObject, draft: JsonObject, controller_name: str, now: str) -> JsonObject:
    """The status that is to be written. live: what the object has. draft: without times of conditions."""
    merged: JsonObject = _merge(live, {name: value for name, value in draft.items() if name not in BY_CONTROLLER}, now)
    for name in BY_CONTROLLER:
        if name in live or name in draft:
            merged[name] = _merge_entries(name, live.get(name) or [], draft.get(name) or [], controller_name, now)
    return merged


def without_ours(live: JsonObject, controller_name: str) -> JsonObject:
    """The status of an object that has nothing to do with this controller any more."""
    return {
        name: [entry for entry in value if entry.get("controllerName") != controller_name]
        if name in BY_CONTROLLER
        else value
        for name, value in live.items()
    }


def has_ours(live: JsonObject, controller_name: str) -> bool:
    """Whether the status has entries of this controller's."""
    return any(
        entry.get("controllerName") == controller_name for name in BY_CONTROLLER for entry in live.get(name) or []
    )


def is_programmed(status: Any) -> bool:
    """Whether a condition of the status, wherever it stands, says that nodes serve the object."""
    if isinstance(status, list):
        return any(map(is_programmed, status))
    if not isinstance(status, dict):
        return False
    is_own = status.get("type") == "Programmed" and status.get("status") == "True"
    return is_own or any(map(is_programmed, status.values()))


def merge_patch(before: JsonObject, after: JsonObject) -> JsonObject:
    """What a merge patch (RFC 7386) has to say; empty where both are the same."""
    patch: JsonObject = {name: None for name in before if name not in after}
    for name, value in after.items():
        old = before.get(name)
        if old == value:
            continue
        patch[name] = merge_patch(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return patch


def _merge_entries(
    name: str, live: Sequence[JsonObject], draft: Iterable[JsonObject], controller_name: str, now: str
) -> list[JsonObject]:
    ref, _ = BY_CONTROLLER[name]
    identify = _identity(BY_CONTROLLER[name])
    whole = ({**entry, ref: {**REF_DEFAULTS, **entry.get(ref, {})}} for entry in draft)
    ours = {identify(entry): entry for entry in whole}
    merged: list[JsonObject] = []
    for entry in live:
        if entry.get("controllerName") != controller_name:
            merged.append(entry)
        elif (drafted := ours.pop(identify(entry), None)) is not None:
            merged.append(_merge(entry, drafted, now))
    return [*merged, *(_merge(None, entry, now) for entry in ours.values())]


def _identity(fields: Sequence[str]) -> Callable[[JsonObject], Hashable]:
    def identify(entry: JsonObject) -> Hashable:
        return tuple(_frozen(entry.get(field)) for field in fields)

    return identify


def _frozen(value: object) -> Hashable:
    return tuple(sorted(value.items())) if isinstance(value, dict) else repr(value)


def _merge(live: Any, draft: Any, now: str) -> Any:
    """Lists of conditions get their times, wherever they stand; lists of named entries are matched by name."""
    if isinstance(draft, dict):
        known = live if isinstance(live, dict) else {}
        return {
            name: _merge_conditions(known.get(name) or [], value, now)
            if name == "conditions"
            else _merge(known.get(name), value, now)
            for name, value in draft.items()
        }
    if isinstance(draft, list) and all(isinstance(entry, dict) and "name" in entry for entry in draft):
        named = {entry.get("name"): entry for entry in live or [] if isinstance(entry, dict)}
        return [_merge(named.get(entry["name"]), entry, now) for entry in draft]
    return draft


def _merge_conditions(live: Sequence[JsonObject], draft: Iterable[JsonObject], now: str) -> list[JsonObject]:
    known = {condition["type"]: condition for condition in live}
    merged = []
    for condition in draft:
        before = known.get(condition["type"], {})
        is_same = before.get("status") == condition["status"]
        since = before.get("lastTransitionTime", now) if is_same else now
        merged.append({**condition, "lastTransitionTime": since})
    return merged
