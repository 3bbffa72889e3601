"""What a policy has changed, in the form of a recording, and whether that is what was recorded."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from typing import Any

from gatewright.kit.recording import MARK, REQUEST, TEXTS, JsonObject, Message, Moment, beginning_of

__all__ = ["changes", "differences", "matches"]

ABSENT: Any = object()


def changes(before: Moment, after: Moment, direction: str, answered: bool = False) -> list[JsonObject]:
    """What makes `after` of `before`, in the engine's order. answered: the policy has made the response."""
    all_changes = list(_of_request(before.request, after.request)) if direction == REQUEST else []
    if answered:
        assert after.response is not None
        all_changes.append({"what": "answer", "after": answer_of(after.response)})
    elif direction != REQUEST:
        assert before.response is not None
        assert after.response is not None
        all_changes += _of_response(before.response, after.response)
    all_changes += _of_values("metadata", before.metadata, after.metadata)
    all_changes += _of_values("analytics", before.analytics, after.analytics)
    return all_changes


def answer_of(message: Message) -> JsonObject:
    """A policy's answer as a recording has it."""
    body = message.body if message.body is not None else {"size": 0, "text": ""}
    return {"status": message.status, "headers": [list(line) for line in message.headers], "body": body}


def _of_request(before: Message, after: Message) -> Iterator[JsonObject]:
    for what in TEXTS:
        was, now = before.texts.get(what, ""), after.texts.get(what, "")
        if was != now:
            yield _change(what, "", was or ABSENT, now or ABSENT)
    yield from _of_lines("header", before.headers, after.headers)
    yield from _of_body(before.body, after.body)


def _of_response(before: Message, after: Message) -> Iterator[JsonObject]:
    if before.status != after.status:
        yield _change("status", "", before.status, after.status)
    yield from _of_lines("header", before.headers, after.headers)
    yield from _of_body(before.body, after.body)


def of_trailers(before: list[tuple[str, str]], after: list[tuple[str, str]]) -> list[JsonObject]:
    """The changes of a stream's trailers."""
    return list(_of_lines("trailer", before, after))


def _of_lines(what: str, before: list[tuple[str, str]], after: list[tuple[str, str]]) -> Iterator[JsonObject]:
    was, now = _grouped(before), _grouped(after)
    for name in dict.fromkeys([*was, *now]):
        if was.get(name) != now.get(name):
            yield _change(what, name, was.get(name, ABSENT), now.get(name, ABSENT))


def _of_body(before: JsonObject | None, after: JsonObject | None) -> Iterator[JsonObject]:
    if before is not after and not _same_body(before, after):
        yield _change("body", "", ABSENT if before is None else before, ABSENT if after is None else after)


def _of_values(what: str, before: JsonObject, after: JsonObject) -> Iterator[JsonObject]:
    for name in sorted({*before, *after}):
        was, now = before.get(name, ABSENT), after.get(name, ABSENT)
        if was is ABSENT or now is ABSENT or not _same_json(was, now):
            yield _change(what, name, was, now)


def _change(what: str, name: str, before: Any, after: Any) -> JsonObject:
    made: JsonObject = {"what": what}
    if name:
        made["name"] = name
    if before is not ABSENT:
        made["before"] = copy.deepcopy(before)
    if after is not ABSENT:
        made["after"] = copy.deepcopy(after)
    return made


def _grouped(lines: list[tuple[str, str]]) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = {}
    for name, value in lines:
        grouped.setdefault(name, []).append(value)
    return grouped


def _same_json(one: Any, other: Any) -> bool:
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _same_body(one: JsonObject | None, other: JsonObject | None) -> bool:
    if one is None or other is None:
        return one is other
    if one.get("decoded", "") != other.get("decoded", "") or one.get("size") != other.get("size"):
        return False
    return _same_beginning(beginning_of(one), beginning_of(other))


def _same_beginning(one: bytes | None, other: bytes | None) -> bool:
    """As far as both are known."""
    if one is None or other is None:
        return True
    known = min(len(one), len(other))
    return one[:known] == other[:known]


# ------------------------------------------------------------------ recorded, and replayed


def differences(recorded: list[JsonObject], replayed: list[JsonObject], inexact: bool = False) -> list[JsonObject]:
    """Where replayed changes are not the recorded ones, as changes: `before` is what the recorded ones have left,
    `after` what the replayed ones leave. inexact: sizes of bodies say nothing, for values were taken out of the input.
    """
    was, now = _by_key(recorded), _by_key(replayed)
    found = []
    for key in dict.fromkeys([*was, *now]):
        there, here = was.get(key, {}), now.get(key, {})
        left = there.get("after", ABSENT) if there else here.get("before", ABSENT)
        leaves = here.get("after", ABSENT) if here else there.get("before", ABSENT)
        if not _fits(left, leaves, key[0], inexact):
            found.append(_change(*key, left, leaves))
    return found


def _fits(recorded: Any, replayed: Any, what: str, inexact: bool) -> bool:
    if recorded is ABSENT or replayed is ABSENT:
        return recorded is replayed
    return matches(recorded, replayed, what, inexact)


def _by_key(listed: list[JsonObject]) -> dict[tuple[str, str], JsonObject]:
    return {(change["what"], change.get("name", "")): change for change in listed}


def matches(recorded: Any, replayed: Any, what: str = "", inexact: bool = False) -> bool:
    """Whether a recorded value may have been the replayed one: what was taken out of it, or cut off, fits anything."""
    if what == "body":
        return _body_matches(recorded, replayed, inexact)
    if what == "answer":
        return _answer_matches(recorded, replayed, inexact)
    if isinstance(recorded, str):
        return recorded == MARK or (isinstance(replayed, str) and _text_matches(recorded, replayed))
    if isinstance(recorded, Mapping) and isinstance(replayed, Mapping):
        return recorded.keys() == replayed.keys() and all(matches(recorded[key], replayed[key]) for key in recorded)
    if isinstance(recorded, list) and isinstance(replayed, list):
        return len(recorded) == len(replayed) and all(map(matches, recorded, replayed))
    return _same_json(recorded, replayed)


def _answer_matches(recorded: Mapping[str, Any], replayed: Mapping[str, Any], inexact: bool) -> bool:
    was, now = Message.of(recorded), Message.of(replayed)
    nothing: JsonObject = {"size": 0, "text": ""}
    return (
        was.status == now.status
        and matches(_grouped(was.headers), _grouped(now.headers))
        and _body_matches(was.body or nothing, now.body or nothing, inexact)
    )


def _body_matches(recorded: Mapping[str, Any], replayed: Mapping[str, Any], inexact: bool) -> bool:
    if not inexact and recorded.get("size") != replayed.get("size"):
        return False
    was, now = beginning_of(recorded), beginning_of(replayed)
    if was is None or now is None:
        return True
    truncated = bool(recorded.get("truncated"))
    return _parts_match(_body_parts(was), now, truncated)


def _body_parts(body: bytes) -> list[bytes]:
    """What stands between values that were taken out: of JSON, a value that is no text may have been there too."""
    mark = MARK.encode()
    return body.replace(b'"' + mark + b'"', mark).split(mark)


def _text_matches(recorded: str, replayed: str) -> bool:
    return _parts_match([part.encode() for part in recorded.split(MARK)], replayed.encode("utf-8", "replace"), False)


def _parts_match(parts: list[bytes], whole: bytes, truncated: bool) -> bool:
    first, *rest = parts
    if truncated and not rest:
        return whole.startswith(first)
    if not rest:
        return whole == first
    if not whole.startswith(first):
        return False
    at = len(first)
    for part in rest[:-1]:
        found = whole.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    if truncated:
        return whole.find(rest[-1], at) >= 0
    return len(whole) - len(rest[-1]) >= at and whole.endswith(rest[-1])
