"""What a policy has changed: lines that begin with - and +, as in a patch."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from typing import Any

import msgspec

from gatewright_cli.exchanges.recorded import Body, Change, Message

MOST_LINES = 60
CONTEXT_LINES = 2
VALUES = ("header", "trailer")
STORED = ("metadata", "analytics")


def heading(change: Change) -> str:
    """Names what has changed."""
    if change.what == "body":
        sizes = [_body(side).size for side in (change.before, change.after) if side is not msgspec.UNSET]
        return f"body, {' → '.join(map(str, sizes))} bytes"
    if change.what == "answer":
        statuses = [_message(side).status for side in (change.before, change.after) if side is not msgspec.UNSET]
        return f"answer {' → '.join(map(str, dict.fromkeys(statuses)))}"
    return f"{change.what} {change.name}".rstrip()


def lines(change: Change) -> list[str]:
    """Each begins with "- ", "+ " or, of what has stayed, two blanks."""
    if change.what == "body":
        changed = list(_body_lines(change))
    elif change.what == "answer":
        changed = list(_answer_lines(change))
    else:
        changed = [*_signed_lines("- ", change, change.before), *_signed_lines("+ ", change, change.after)]
    if len(changed) <= MOST_LINES:
        return changed
    return [*changed[:MOST_LINES], f"  … {len(changed) - MOST_LINES} lines more; --json has them"]


def _signed_lines(sign: str, change: Change, value: Any) -> Iterator[str]:
    if value is msgspec.UNSET:
        return
    if change.what in VALUES and isinstance(value, list):
        yield from (f"{sign}{item}" for item in value)
    elif change.what == "failure":
        yield from (f"{sign}{line}" for line in f"{value['class']}: {value['message']}".splitlines())
    elif change.what in STORED or not isinstance(value, str):
        yield f"{sign}{json.dumps(value, ensure_ascii=False)}"
    else:
        yield f"{sign}{value}"


def _answer_lines(change: Change) -> Iterator[str]:
    """All lines of an answer that is new or gone; the changed lines of one that was there before and after."""
    before, after = (_message_text(side) for side in (change.before, change.after))
    if before and after:
        yield from _patch(before, after)
    else:
        yield from (f"- {line}".rstrip() for line in before)
        yield from (f"+ {line}".rstrip() for line in after)


def _message_text(side: Any) -> list[str]:
    message = _message(side)
    lines = [f"{name}: {value}" for name, value in message.headers]
    if message.body is not None and message.body.size:
        lines += [*([""] if lines else []), *_text(message.body)]
    return lines


def _body_lines(change: Change) -> Iterator[str]:
    before, after = (_text(_body(side)) if side is not msgspec.UNSET else [] for side in (change.before, change.after))
    yield from _patch(before, after)


def _patch(before: list[str], after: list[str]) -> Iterator[str]:
    diff = difflib.unified_diff(before, after, lineterm="", n=CONTEXT_LINES)
    for number, line in enumerate(diff):
        if number >= 2 and not line.startswith("@@"):  # without the names of files
            yield f"{line[0]} {line[1:]}"


def _text(body: Body) -> list[str]:
    if body.text is None:
        encoded = f" in {body.decoded}" if body.decoded else ""
        return [f"({body.size} bytes{encoded} that are no text)"] if body.size else []
    text = body.text
    if not body.truncated and text[:1] in ("{", "["):
        text = _indent_json(text)
    return [*text.splitlines(), "… (the rest was not recorded)"] if body.truncated else text.splitlines()


def _indent_json(text: str) -> str:
    """JSON with one member on each line, so that a changed member is seen."""
    try:
        return msgspec.json.format(text, indent=2)
    except msgspec.DecodeError:
        return text


def _body(side: Any) -> Body:
    return msgspec.convert(side, Body)


def _message(side: Any) -> Message:
    return Message() if side is msgspec.UNSET else msgspec.convert(side, Message)
