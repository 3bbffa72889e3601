"""Path templates of OpenAPI as paths of an `Api`.

In OpenAPI a parameter may be a part of a segment (`/reports/{id}.{format}`), and real documents have more than the
specification knows: greedy parameters (`/{proxy+}`), queries (`/search?q={q}`), fragments. Parameters of an `Api` are
whole segments. A template that its paths cannot express becomes a wider path, never a narrower one, with a note.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote

from gatewright_controller.resource.paths import ENCODED, PARAMETER, UNRESERVED, PathSyntaxError, parse_path

GREEDY = re.compile(r"\+.*|.*[*+]|.*\.\.\.|.*=.*\*\*.*|.*:\.[*+]\??")
"""The inside of a brace that stands for several segments, as gateways and frameworks write it."""
STRAY = re.compile(r"[^A-Za-z0-9_-]+")
TOKEN = re.compile(r"%[0-9A-Fa-f]{2}|.", re.DOTALL)
PLAIN = re.compile(r"[A-Za-z0-9\-._~!$&'()+,;=:@]")


@dataclass(frozen=True)
class Translated:
    """path: as an operation writes it. changes: why it matches other paths than the document's template, if it does."""

    path: str
    changes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Part:
    """A part of a segment: text, or the inside of a brace."""

    text: str
    is_parameter: bool = False


def translate_path(path: str) -> Translated:
    """Raises `PathSyntaxError` if no path of an `Api` matches what the template does."""
    if not path.startswith("/"):
        raise PathSyntaxError(f"expected a path that starts with '/', got {path!r}")
    changes: list[str] = []
    parts, rest = _split(path)
    if rest:
        changes.append(f"{rest!r} is left out: an operation is known by its path")
    segments: list[str] = []
    names: set[str] = set()
    pieces = list(_segments(parts))
    for index, piece in enumerate(pieces):
        last = index == len(pieces) - 1
        segment = _segment(piece, names, changes, last=last)
        if segment == "*" and not last:
            changes.append("everything behind a parameter of several segments is left out")
        if segment == "*" or not _is_dots(segment, segments, changes, last=last):
            segments.append(segment)
        if segment == "*":
            break
    whole = "/" + "/".join(segments)
    parse_path(whole)
    return Translated(whole, tuple(dict.fromkeys(changes)))


def _split(path: str) -> tuple[list[_Part], str]:
    """The parts of the path, and its query and fragment."""
    parts: list[_Part] = []
    at = 1
    while at < len(path):
        if path[at] in "?#":
            return parts, path[at:]
        end = _closing(path, at) if path[at] == "{" else 0
        if end and path[at + 1 : at + 2] in "?&#":  # a query, as RFC 6570 writes it
            return parts, path[at:]
        parts.append(_Part(path[at + 1 : end], True) if end else _Part(path[at]))
        at = (end or at) + 1
    return parts, ""


def _closing(path: str, at: int) -> int:
    """The index of the brace that closes the one at `at`; 0 for none."""
    depth = 0
    for index in range(at, len(path)):
        depth += {"{": 1, "}": -1}.get(path[index], 0)
        if depth == 0:
            return index
    return 0


def _segments(parts: list[_Part]) -> Iterator[list[_Part]]:
    segment: list[_Part] = []
    for part in parts:
        if part == _Part("/"):
            yield segment
            segment = []
        else:
            segment.append(part)
    yield segment


def _segment(parts: list[_Part], names: set[str], changes: list[str], *, last: bool) -> str:
    text = "".join(part.text for part in parts)
    inner = [part.text for part in parts if part.is_parameter]
    if any(GREEDY.fullmatch(name) for name in inner):
        shown = "".join(f"{{{part.text}}}" if part.is_parameter else part.text for part in parts)
        changes.append(f"{shown!r} stands for several segments, which '*' takes")
        return "*"
    if inner:
        if len(parts) > 1:
            shown = "".join(f"{{{part.text}}}" if part.is_parameter else part.text for part in parts)
            changes.append(f"a parameter is a whole segment, so {shown!r} takes any")
        return f"{{{_unique_name(text, names)}}}"
    if text == "*":
        changes.append(f"'*' is taken for a wildcard: {'everything below' if last else 'any segment'}")
        return "*" if last else f"{{{_unique_name('any', names)}}}"
    literal = "".join(_normalize(match[0], text) for match in TOKEN.finditer(text))
    return (
        literal.replace(":", "%3A", 1) if literal.startswith(":") else literal
    )  # else it would be read as a parameter


def _unique_name(text: str, names: set[str]) -> str:
    """A name that no other parameter of the path has."""
    name = text
    if not PARAMETER.fullmatch(f"{{{text}}}"):
        name = STRAY.sub("_", text).strip("_-") or "value"
        name = name if name[0].isalpha() else f"_{name}"
    number, unique = 2, name
    while unique in names:
        number, unique = number + 1, f"{name}_{number}"
    names.add(unique)
    return unique


def _normalize(spelled: str, text: str) -> str:
    """A character of a literal, or an encoded one, in the spelling of an `Api`'s paths."""
    if ENCODED.fullmatch(spelled):
        character = chr(int(spelled[1:], 16))
        return character if UNRESERVED.fullmatch(character) else spelled.upper()
    if spelled == "\\":
        raise PathSyntaxError(f"expected no backslash, got {text!r}")
    if PLAIN.fullmatch(spelled):
        return spelled
    return quote(spelled, safe="")


def _is_dots(segment: str, before: list[str], changes: list[str], *, last: bool) -> bool:
    """Whether the segment is dropped, since requests lose it before they are matched. Applies `..` to `before`."""
    if segment not in ("", ".", "..") or (segment == "" and last):
        return False
    changes.append("requests lose '//', '.' and '..' before they are matched")
    if segment == ".." and before:
        before.pop()
    if segment and last:
        before.append("")
    return True
