"""Paths of Kong's routes as templates of segments.

A plain path is a prefix of the request's path, as text. A regular expression is anchored at the beginning of the path.
Gatewright's paths consist of segments, so a regular expression becomes literals, parameters and a last `*`; if that
takes more paths than the expression, the expression itself stays as a guard.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from gatewright_controller.resource.paths import Kind, PathSyntaxError, parse_path
from gatewright_controller.resource.regexes import RegexError, check_regex

UNRESERVED = re.compile(r"[A-Za-z0-9\-._~]+")
LITERAL_TOKEN = re.compile(r"\\([^A-Za-z0-9])|([A-Za-z0-9_~%!@&,:;='\"<>#-]|\.)(?![*+?{])")
PLAIN_DOT = re.compile(r"(?<!\\)[A-Za-z0-9]\.(?![*+?{])")
"""In `/v1.0` a dot that is meant as one, though the expression takes any character."""
WHOLE_SEGMENT = re.compile(r"(?:\(\?P?<[A-Za-z_][A-Za-z0-9_]*>|\((?:\?:)?)?\[\^(?:/|\\/|#|\?|\\\?)+\]\+\)?")
"""One or more characters of a segment, as a group or not: what a parameter is."""
NAMED_GROUP = re.compile(r"\(\?P?<([A-Za-z_][A-Za-z0-9_]*)>")
SPANS_SEGMENTS = re.compile(r"(?<!\\)\.|\\[DWS]")
NEGATED_WITHOUT_SLASH = re.compile(r"\[\^(?![^\]]*/)")
OPEN_ENDING = re.compile(r"(/\.\*|\((\?:)?/\.\*\)\?|\((\?:)?/\|\$\)|/\(\.\*\))\$?$")
CLOSED_ENDING = re.compile(r"(/\??)?(?<!\\)\$$")
Segment = str | None


class PathError(ValueError):
    """The path cannot be a template. The message says why."""


@dataclass(frozen=True)
class Template:
    """segments: literals, and None for a parameter. is_open: whether it takes everything below too. guard: a regular
    expression that the path must match besides; "" for none. strips_all: whether the expression covers the whole path.
    """

    segments: tuple[Segment, ...] = ()
    is_open: bool = True
    guard: str = ""
    strips_all: bool = False
    is_regex: bool = False

    @property
    def shape(self) -> tuple[tuple[Segment, ...], bool]:
        """Equal for templates of the same paths."""
        return self.segments, self.is_open

    @cached_property
    def plain_prefix(self) -> tuple[str, ...]:
        """The leading segments that a context may have."""
        found: list[str] = []
        for segment in self.segments:
            if segment is None or not UNRESERVED.fullmatch(segment):
                break
            found.append(segment)
        return tuple(found)

    def covers(self, other: Template) -> bool:
        """Whether it takes every path that the other takes, guards aside."""
        mine, theirs = self.segments, other.segments
        if len(mine) > len(theirs) or (not self.is_open and (len(mine) != len(theirs) or other.is_open)):
            return False
        return all(segment is None or segment == another for segment, another in zip(mine, theirs, strict=False))

    def meets(self, other: Template) -> bool:
        """Whether some path is taken by both, guards aside."""
        mine, theirs = self.segments, other.segments
        if len(mine) != len(theirs) and not (self.is_open if len(mine) < len(theirs) else other.is_open):
            return False
        return all(None in pair or pair[0] == pair[1] for pair in zip(mine, theirs, strict=False))

    def below(self, context: tuple[str, ...]) -> Template | None:
        """Its part below a context; None if it takes no path there. A prefix may end within a segment."""
        for index, (mine, wanted) in enumerate(zip(self.segments, context, strict=False)):
            is_last = index == len(self.segments) - 1 and self.is_open and not self.is_regex
            if mine is not None and mine != wanted and not (is_last and wanted.startswith(mine)):
                return None
        if len(self.segments) < len(context):
            return Template((), True) if self.is_open else None
        return Template(self.segments[len(context) :], self.is_open)


def parse_route_path(path: str, *, is_regex: bool) -> Template:
    """The template of a route's path. Raises `PathError`."""
    return _parse_regex(path.removeprefix("~")) if is_regex else _parse_prefix(path)


def _parse_prefix(path: str) -> Template:
    if not path.startswith("/"):
        raise PathError(f"expected a path that starts with '/', got {path!r}")
    literals = path.strip("/").split("/") if path.strip("/") else []
    return Template(tuple(_literal(text) for text in literals))


def _literal(text: str) -> str:
    """A segment in the one spelling that it has in an API."""
    try:
        (segment,) = parse_path(f"/{text}").segments
    except (PathSyntaxError, ValueError) as error:
        raise PathError(str(error)) from None
    if segment.kind is not Kind.LITERAL:
        raise PathError(f"expected a segment of text, got {text!r}")
    return segment.text


def _parse_regex(pattern: str) -> Template:
    guard = NAMED_GROUP.sub("(?P<\\1>", pattern.removeprefix("^"))
    try:
        check_regex(guard)
    except RegexError as error:
        raise PathError(f"{error}; RE2 has no look-around and no back-references") from None
    body, is_open = _split_ending(pattern.removeprefix("^"))
    first, *texts = _split_segments(body)
    if first:
        raise PathError(f"expected a regular expression that begins with '/', got {pattern!r}")
    segments: list[Segment] = []
    exact = True
    for text in texts if texts != [""] else []:
        segment = _segment_of(text)
        if segment is None:
            return Template(tuple(segments), True, f"^(?:{guard})", strips_all=True, is_regex=True)
        segments.append(segment.text)
        exact = exact and segment.is_exact
    return Template(tuple(segments), is_open, "" if exact else f"^(?:{guard})", is_regex=True)


def _split_ending(pattern: str) -> tuple[str, bool]:
    """The expression without its end, and whether it takes paths below it."""
    if found := OPEN_ENDING.search(pattern):
        return pattern[: found.start()], True
    if found := CLOSED_ENDING.search(pattern):
        return pattern[: found.start()], False
    return pattern, True


@dataclass(frozen=True)
class _Part:
    """A segment of an expression. is_exact: whether it takes the segments that the expression takes, and no others."""

    text: Segment
    is_exact: bool = True


def _segment_of(text: str) -> _Part | None:
    """The segment that a part of an expression stands for; None if that may be several, or none."""
    literal = _literal_of(text)
    if literal:
        return _Part(_literal(literal))
    if WHOLE_SEGMENT.fullmatch(text):
        return _Part(None)
    spans = SPANS_SEGMENTS.search(text) or NEGATED_WITHOUT_SLASH.search(text) or "/" in text.replace("[^/", "")
    return None if spans or not text else _Part(None, is_exact=False)


def _split_segments(pattern: str) -> Iterator[str]:
    """The parts of an expression between slashes that are outside of groups and sets. Raises `PathError`."""
    depth, in_set, begin, index = 0, False, 0, 0
    while index < len(pattern):
        character = pattern[index]
        if character == "\\" and pattern[index : index + 2] != "\\/":
            index += 1
        elif in_set:
            in_set = character != "]" or pattern[index - 1] in "[^"
        elif character == "[":
            in_set = True
        elif character in "()":
            depth += 1 if character == "(" else -1
        elif character == "|" and not depth:
            raise PathError(f"expected alternatives in a group, got {pattern!r}; write a path for each")
        elif character in "/\\" and not depth:
            yield pattern[begin:index]
            index += character == "\\"
            begin = index + 1
        index += 1
    yield pattern[begin:]


def _literal_of(text: str) -> str | None:
    """The text that a part of an expression stands for, if that is one text only."""
    found, end = "", 0
    for token in LITERAL_TOKEN.finditer(text):
        if token.start() != end:
            return None
        found += token[1] or token[2]
        end = token.end()
    return found if end == len(text) else None
