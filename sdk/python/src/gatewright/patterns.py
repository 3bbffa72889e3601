"""What the syntax of a pattern tells about its matches: how long they may be, and what they may begin with.

`gatewright.masking` has these functions too, for policies.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from re import _constants, _parser  # type: ignore[attr-defined]  # the parts of a pattern have no public API
from typing import Any

LONGEST = 1024
"""The most characters of a match of a bounded pattern."""
_BOUNDARIES = {_constants.AT_BOUNDARY: r"\b", _constants.AT_NON_BOUNDARY: r"\B"}
_CATEGORIES = {
    _constants.CATEGORY_DIGIT: r"\d",
    _constants.CATEGORY_NOT_DIGIT: r"\D",
    _constants.CATEGORY_SPACE: r"\s",
    _constants.CATEGORY_NOT_SPACE: r"\S",
    _constants.CATEGORY_WORD: r"\w",
    _constants.CATEGORY_NOT_WORD: r"\W",
}
_REPEATS = {_constants.MAX_REPEAT, _constants.MIN_REPEAT}
_FLAGS = ((re.IGNORECASE, "i"), (re.DOTALL, "s"))


def longest_match(name: str, pattern: str) -> int:
    """The most characters of a match of a pattern that can be searched in a stream. ValueError, with the pattern's
    name: a match could be empty or have more than `LONGEST` characters, or it depends on where the text begins or ends,
    which has no meaning in a stream."""
    expected = f"expected a pattern whose matches have 1 to {LONGEST} characters, got {name}: {pattern!r}"
    try:
        with warnings.catch_warnings(action="error"):
            tree = _parser.parse(pattern)
    except (re.error, FutureWarning, OverflowError, RecursionError) as error:
        raise ValueError(f"{expected}: {error}") from None
    shortest, longest = tree.getwidth()
    if shortest < 1:
        raise ValueError(f"{expected}, which matches the empty text")
    if longest > LONGEST:
        raise ValueError(f"{expected}, which matches longer ones; write counts, such as {{1,64}}, instead of + and *")
    if any(_anchors(tree)):
        raise ValueError(rf"{expected}, which has an anchor other than \b and \B: a stream has no lines")
    return int(longest)


def _anchors(tree: Any) -> Iterator[bool]:
    for node in tree:
        if isinstance(node, tuple) and len(node) == 2 and node[0] is _constants.AT:
            yield node[1] not in _BOUNDARIES
        elif isinstance(node, tuple | list | _parser.SubPattern):
            yield from _anchors(node)


def beginning_of_matches(pattern: str) -> str:
    """A pattern of RE2 that finds at a text's end what a match of `pattern` may begin with, whole matches too; nothing
    else need be held back in a stream. For patterns that `longest_match` accepts. ValueError: `pattern` has what RE2
    does not have, such as a look-ahead."""
    tree = _parser.parse(pattern)
    return rf"(?{_letters(tree.state.flags)}:{_beginning(tree)})\z"


def _beginning(nodes: Any) -> str:
    """Of a sequence: a beginning of its first half, or the first half and a beginning of its second. In halves, since
    RE2 does not take a group in a group for each of many characters."""
    if len(nodes) <= 1:
        return "".join(map(_beginning_of_node, nodes))
    first, second = nodes[: len(nodes) // 2], nodes[len(nodes) // 2 :]
    return f"(?:{_beginning(first)}|{_whole(first)}{_beginning(second)})"


def _beginning_of_node(node: Any) -> str:
    kind, value = node
    if kind is _constants.AT:
        return ""  # what follows is not known
    if kind in _REPEATS:
        _, most, repeated = value
        if most == 0:
            return ""
        before = most if most is _constants.MAXREPEAT else most - 1
        return _repeated(_whole(repeated), 0, before) + _beginning(repeated)
    if kind is _constants.BRANCH:
        return f"(?:{'|'.join(map(_beginning, value[1]))})"
    if kind is _constants.SUBPATTERN:
        return _in_group(value, _beginning(value[3]))
    return f"{_one_character(kind, value)}?"


def _whole(nodes: Any) -> str:
    """The sequence in RE2's syntax."""
    return "".join(map(_whole_node, nodes))


def _whole_node(node: Any) -> str:
    kind, value = node
    if kind is _constants.AT:
        return _BOUNDARIES[value]
    if kind in _REPEATS:
        return _repeated(_whole(value[2]), *value[:2])
    if kind is _constants.BRANCH:
        return f"(?:{'|'.join(map(_whole, value[1]))})"
    if kind is _constants.SUBPATTERN:
        return _in_group(value, _whole(value[3]))
    return _one_character(kind, value)


def _one_character(kind: Any, value: Any) -> str:
    if kind is _constants.ANY:
        return "."
    if kind is _constants.IN:
        return f"[{''.join(map(_member, value))}]"
    if kind is _constants.LITERAL:
        return _character(value)
    if kind is _constants.NOT_LITERAL:
        return f"[^{_character(value)}]"
    raise ValueError(f"expected what RE2 has, got {kind}")


def _repeated(whole: str, least: int, most: int) -> str:
    return f"(?:{whole}){{{least},{'' if most is _constants.MAXREPEAT else most}}}"


def _in_group(value: Any, content: str) -> str:
    _, added, removed, _ = value
    without = _letters(removed)
    return f"(?{_letters(added)}{'-' if without else ''}{without}:{content})"


def _letters(flags: int) -> str:
    return "".join(letter for flag, letter in _FLAGS if flags & flag)


def _member(member: Any) -> str:
    """A part of a set of characters."""
    kind, value = member
    if kind is _constants.NEGATE:
        return "^"
    if kind is _constants.CATEGORY:
        return _CATEGORIES[value]
    if kind is _constants.RANGE:
        return "-".join(map(_character, value))
    return _character(value)


def _character(code: int) -> str:
    return rf"\x{{{code:x}}}"
