"""What a golden file holds: the part of an output that its input is about, without what is usual.

One golden shows everything; the others show only how they differ from it. So a changed default changes that one file.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from difflib import SequenceMatcher
from pathlib import Path

import yaml
from gatewright_documents.values import JsonObject, JsonValue

RUN = "…"
"""In a list of a golden file: items as they usually are, in their usual order."""
SHOWN = ("name", "match", "operation", "policy_name", "policy_version", "log_format")
"""Keys that an object which differs shows whole: what it is called, and what has no usual fields."""
EACH = ("attachments", "endpoints", "lb_endpoints", "filter_chains", "upstreams")
"""Lists without usual items: each of theirs is shown."""


def difference(value: JsonValue, usual: JsonValue) -> JsonValue:
    """The keys of an object whose values differ, with null for one that it lacks; of a list see `_list_difference`."""
    if isinstance(value, dict) and isinstance(usual, dict) and value.get("@type") == usual.get("@type"):
        lacking: JsonObject = dict.fromkeys(key for key in usual if key not in value)
        return lacking | {
            key: _field_difference(key, item, usual[key]) if key in usual else item
            for key, item in value.items()
            if key in SHOWN or key not in usual or item != usual[key]
        }
    if isinstance(value, list) and isinstance(usual, list):
        return _list_difference(value, usual)
    return value


def _field_difference(key: str, value: JsonValue, usual: JsonValue) -> JsonValue:
    if key in SHOWN:
        return value
    return differences(value, usual) if key in EACH else difference(value, usual)


def differences(items: Sequence[JsonValue], usual: Sequence[JsonValue]) -> list[JsonValue]:
    """Each item as its difference from the usual one that it is most like."""
    return [difference(item, _most_like(item, usual)) for item in items]


def _list_difference(items: list[JsonValue], usual: list[JsonValue]) -> list[JsonValue]:
    """RUN for usual items, other items as differences, and `without` for what is usual and not there."""
    if not all(isinstance(item, dict) for item in usual) and not all(item in items for item in usual):
        return items
    shown: list[JsonValue] = []
    for change, start, end, first, last in SequenceMatcher(None, _texts(usual), _texts(items), False).get_opcodes():
        if change == "equal":
            shown.append(RUN)
            continue
        twins = [_twin(item, usual) for item in items[first:last]]
        shown += [difference(item, twin) for item, twin in zip(items[first:last], twins, strict=True)]
        shown += [{"without": _name(item) or item} for item in usual[start:end] if item not in twins]
    return shown


def _twin(item: JsonValue, usual: list[JsonValue]) -> JsonValue:
    """The usual item of the same name, else one that at least half of the item is like."""
    namesakes = [other for other in usual if _name(other) == _name(item)]
    if namesakes:
        return _most_like(item, namesakes)
    twin = _most_like(item, usual)
    return twin if len(_text(difference(item, twin))) < len(_text(item)) / 2 else None


def _most_like(item: JsonValue, usual: Sequence[JsonValue]) -> JsonValue:
    """The usual item that leaves the smallest difference, if there is any."""
    return min(usual, key=lambda other: len(_text(difference(item, other))), default=None)


def _name(item: JsonValue) -> str:
    return str(item.get("name", "")) if isinstance(item, dict) else ""


def _text(value: JsonValue) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _texts(items: list[JsonValue]) -> list[str]:
    return [_text(item) for item in items]


def ordered(value: JsonValue) -> JsonValue:
    """With keys in an order that no process changes: maps of protobuf have another one in each."""
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: (*(key != first for first in ("name", "@type", "match")), key))
        return {key: ordered(value[key]) for key in keys}
    return [ordered(item) for item in value] if isinstance(value, list) else value


def read_golden(golden: Path) -> JsonValue:
    """By libyaml, which takes a tenth of the time of PyYAML's own parser."""
    document: JsonValue = yaml.load(golden.read_bytes(), yaml.CSafeLoader)
    return document


def check(made: JsonValue, golden: Path, *, update: bool) -> None:
    """Asserts that the golden file, as YAML, is what was made; with `update` it is written first."""
    if update:
        golden.write_text(yaml.safe_dump(ordered(made), sort_keys=False, width=120, allow_unicode=True))
    assert made == read_golden(golden), "if the change is meant, run pytest with --update"
