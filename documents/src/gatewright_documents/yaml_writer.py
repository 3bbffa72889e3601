"""Values as the YAML that a person goes on writing: one value a line, plain wherever every reader takes it alike."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from itertools import chain

from gatewright_documents.mistake import Invalid
from gatewright_documents.values import JsonValue, KeyPath
from gatewright_documents.yaml_reader import YAML_1_1, read_yaml

PLAIN = re.compile(
    r"[A-Za-z/](([A-Za-z0-9/._~{}$ -]|:(?=[/0-9]))*[A-Za-z0-9/._~{}$-])?|/[A-Za-z0-9/._~{}*-]*|[1-9][0-9]*m?s"
)
WORD = re.compile("[a-z0-9-]+")
UNPRINTABLE = re.compile("[^\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
"""What YAML has only as an escape (YAML 1.2, 5.1), and what some readers take for the end of a line."""
WHOLE_EXPONENT = re.compile("(?<=[0-9])e")
LONGEST_KEY = 1000
"""Characters as written: a longer one is none to YAML (1.2, 7.4.3), unless it is marked with `?`."""
STEP = "  "


def yaml_text(value: JsonValue, comments: Mapping[KeyPath, str] | None = None) -> str:
    """The value as a document that `read_yaml` reads as the same value, its lines in the order of the value.

    comments: each behind the value that stands at its path, one that holds no others. One line each.
    """
    return "".join(f"{line}\n" for line in _lines(value, (), "", comments or {}))


def scalar(value: str | float | None, *, quoted: bool = False) -> str:
    """A value as YAML has it in one line, plain where that is the same in every dialect. quoted: never plain, unless
    it is made of letters, digits and hyphens.
    """
    text = json.dumps(value, ensure_ascii=False)
    if isinstance(value, float) and "." not in text:
        return WHOLE_EXPONENT.sub(".0e", text)
    if not isinstance(value, str):
        return text
    if PLAIN.fullmatch(value) and _is_text(value) and not (quoted and not WORD.fullmatch(value)):
        return value
    return UNPRINTABLE.sub(lambda found: json.dumps(found[0])[1:-1], text)


def _is_text(value: str) -> bool:
    """Whether YAML 1.1 takes it for text too."""
    try:
        return bool(read_yaml(value.encode(), YAML_1_1) == value)
    except Invalid:
        return False


def _lines(value: JsonValue, path: KeyPath, indent: str, comments: Mapping[KeyPath, str]) -> Iterator[str]:
    """Of a value that begins a line of its own."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _entry(key, item, (*path, key), indent, comments)
    elif isinstance(value, list) and value:
        for index, item in enumerate(value):
            yield from _item(item, (*path, index), indent, comments)
    else:
        first, *more = _leaf(value, indent)
        yield indent + first + _comment(path, comments)
        yield from more


def _entry(key: str, item: JsonValue, path: KeyPath, indent: str, comments: Mapping[KeyPath, str]) -> Iterator[str]:
    name = scalar(key)
    if len(name) > LONGEST_KEY:
        yield f"{indent}? {name}"
        name = f"{indent}:"
    else:
        name = f"{indent}{name}:"
    if item and isinstance(item, dict | list):
        yield name
        yield from _lines(item, path, indent + STEP, comments)
    else:
        first, *more = _leaf(item, indent + STEP)
        yield f"{name} {first}{_comment(path, comments)}"
        yield from more


def _item(item: JsonValue, path: KeyPath, indent: str, comments: Mapping[KeyPath, str]) -> Iterator[str]:
    """An item begins behind its hyphen, and goes on below where it begins."""
    inside = indent + STEP
    lines = _lines(item, path, inside, comments)
    first = next(lines)
    yield from chain([f"{indent}- {first[len(inside) :]}"], lines)


def _leaf(value: JsonValue, indent: str) -> list[str]:
    """A value that holds no others: behind a key or a hyphen, and what of it stands in lines below."""
    if isinstance(value, dict | list):
        return ["{}" if isinstance(value, dict) else "[]"]
    if isinstance(value, str) and _is_block(value):
        style = "|" if value.endswith("\n") else "|-"
        return [style, *(indent + line if line else "" for line in value.removesuffix("\n").split("\n"))]
    return [scalar(value)]


def _is_block(text: str) -> bool:
    """Whether it can be shown as lines: printable ones, that say by themselves how they are indented."""
    lines = text.removesuffix("\n").split("\n")
    if len(lines) < 2 or not lines[0] or not lines[-1] or lines[0][0].isspace():
        return False
    return all(line == line.rstrip() and not UNPRINTABLE.search(line.replace("\t", " ")) for line in lines)


def _comment(path: KeyPath, comments: Mapping[KeyPath, str]) -> str:
    return f"  # {comments[path]}" if path in comments else ""
