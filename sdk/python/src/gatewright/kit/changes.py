"""The changes that a policy makes to an exchange, in the form of a recording, and their comparison with one."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from typing import Any

from gatewright.kit.recording import MARK, REQUEST, TEXTS, JsonObject, Message, Moment, beginning_of

__all__ = ["changes", "differences", "matches"]

ABSENT: Any = object()


def changes(before: Moment, after: Moment, direction: str, answered: bool = False) -> list[JsonObject]:
    """The changes that lead from `before` to `after`, in the engine's order. answered: the policy made the response."""
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
    """A policy's answer in the form of a recording."""
    body = message.body if message.body is not None else {"size": 0, "text": ""}
    return {"status": message.status, "headers": [list(line) for line in message.headers], "body": body}


def _of_request(before: Message, after: Message) -> Iterator[JsonObject]:
    for member in TEXTS:
        was, now = before.texts.get(member, ""), after.texts.get(member, "")
        if was != now:
            yield _change(member, "", was or ABSENT, now or ABSENT)
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
    change: JsonObject = {"what": what}
    if name:
        change["name"] = name
    if before is not ABSENT:
        change["before"] = copy.deepcopy(before)
    if after is not ABSENT:
        change["after"] = copy.deepcopy(after)
    return change


def _grouped(lines: list[tuple[str, str]]) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = {}
    for name, value in lines:
        grouped.setdefault(name, []).append(value)
    return grouped


def _same_json(left: Any, right: Any) -> bool:
    return json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True)


def _same_body(left: JsonObject | None, right: JsonObject | None) -> bool:
    if left is None or right is None:
        return left is right
    if left.get("decoded", "") != right.get("decoded", "") or left.get("size") != right.get("size"):
        return False
    return _same_beginning(beginning_of(left), beginning_of(right))


def _same_beginning(left: bytes | None, right: bytes | None) -> bool:
    """Whether the parts that are known of both are equal."""
    if left is None or right is None:
        return True
    known = min(len(left), len(right))
    return left[:known] == right[:known]


# ------------------------------------------------------------------ recorded and replayed changes


def differences(recorded: list[JsonObject], replayed: list[JsonObject], inexact: bool = False) -> list[JsonObject]:
    """The differences between recorded and replayed changes, as changes: `before` is the value after the recorded ones,
    `after` the value after the replayed ones. inexact: sizes of bodies are not compared, since the recording's input
    lacks values that were taken out.
    """
    was, now = _by_key(recorded), _by_key(replayed)
    different = []
    for key in dict.fromkeys([*was, *now]):
        old, new = was.get(key, {}), now.get(key, {})
        old_value = old.get("after", ABSENT) if old else new.get("before", ABSENT)
        new_value = new.get("after", ABSENT) if new else old.get("before", ABSENT)
        if not _fits(old_value, new_value, key[0], inexact):
            different.append(_change(*key, old_value, new_value))
    return different


def _fits(recorded: Any, replayed: Any, what: str, inexact: bool) -> bool:
    if recorded is ABSENT or replayed is ABSENT:
        return recorded is replayed
    return matches(recorded, replayed, what, inexact)


def _by_key(changes: list[JsonObject]) -> dict[tuple[str, str], JsonObject]:
    return {(change["what"], change.get("name", "")): change for change in changes}


def matches(recorded: Any, replayed: Any, what: str = "", inexact: bool = False) -> bool:
    """Whether a recorded value may equal the replayed one: a part that was taken out or cut off matches anything."""
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
    """The parts between values that were taken out. A marker in quotes may stand for a JSON value that is no text."""
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
        start = whole.find(part, at)
        if start < 0:
            return False
        at = start + len(part)
    if truncated:
        return whole.find(rest[-1], at) >= 0
    return len(whole) - len(rest[-1]) >= at and whole.endswith(rest[-1])
