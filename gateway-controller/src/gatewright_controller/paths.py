"""Contexts and operation paths: their syntax, which of two is the narrower, and whether one covers another."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum

LITERAL = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@]|%[0-9A-Fa-f]{2})+")
PARAMETER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_-]*)\}")
LONGEST = 1024


class Kind(IntEnum):
    """In the order of precedence: the narrower first."""

    LITERAL = 0
    PARAMETER = 1
    WILDCARD = 2


@dataclass(frozen=True)
class Segment:
    kind: Kind
    text: str = ""


@dataclass(frozen=True)
class PathTemplate:
    """An operation's path. `/` has no segments; a wildcard is the last segment or none."""

    segments: tuple[Segment, ...]
    trailing_slash: bool = False

    @property
    def precedence(self) -> tuple[bool, tuple[Kind, ...], tuple[str, ...]]:
        """Routes stand in this order: the leftmost difference decides, and wildcards come last."""
        kinds = tuple(segment.kind for segment in self.segments)
        return self.ends_in_wildcard, kinds, tuple(segment.text for segment in self.segments)

    @property
    def ends_in_wildcard(self) -> bool:
        return bool(self.segments) and self.segments[-1].kind is Kind.WILDCARD

    @property
    def shape(self) -> PathTemplate:
        """Equal for two templates that match the same paths: the names of parameters do not count."""
        unnamed = (Segment(part.kind, part.text if part.kind is Kind.LITERAL else "") for part in self.segments)
        return PathTemplate(tuple(unnamed), self.trailing_slash)

    def covers(self, other: PathTemplate) -> bool:
        """Whether every path that matches `other` matches this one too."""
        mine = self.segments[:-1] if self.ends_in_wildcard else self.segments
        theirs = other.segments[:-1] if other.ends_in_wildcard else other.segments
        if not self.ends_in_wildcard:
            same_end = other.trailing_slash == self.trailing_slash and not other.ends_in_wildcard
            if not same_end or len(mine) != len(theirs):
                return False
        return len(mine) <= len(theirs) and all(
            _covers(one, another) for one, another in zip(mine, theirs, strict=False)
        )


def _covers(one: Segment, other: Segment) -> bool:
    return one.kind is Kind.PARAMETER or one == other


class PathSyntaxError(ValueError):
    """The message says what was expected and what came."""


def parse_path(path: str) -> PathTemplate:
    """`/items/{id}/*` as a template. Raises `PathSyntaxError`."""
    if not path.startswith("/"):
        raise PathSyntaxError(f"expected a path that starts with '/', got {path!r}")
    if len(path) > LONGEST:
        raise PathSyntaxError(f"expected at most {LONGEST} characters, got {len(path)}")
    if path == "/":
        return PathTemplate(())
    texts = path[1:].split("/")
    trailing_slash = texts[-1] == ""
    texts = texts[:-1] if trailing_slash else texts
    segments = tuple(_segment(text, path, last=index == len(texts) - 1) for index, text in enumerate(texts))
    if trailing_slash and segments[-1].kind is Kind.WILDCARD:
        raise PathSyntaxError(f"expected '*' as the last segment, got {path!r}")
    _refuse_repeated(segments, path)
    return PathTemplate(segments, trailing_slash)


def _segment(text: str, path: str, *, last: bool) -> Segment:
    if text == "*":
        if not last:
            raise PathSyntaxError(f"expected '*' as the last segment only, got {path!r}")
        return Segment(Kind.WILDCARD)
    if parameter := PARAMETER.fullmatch(text):
        return Segment(Kind.PARAMETER, parameter[1])
    return Segment(Kind.LITERAL, _literal(text, path, "text, '{name}' or a last '*'"))


def _literal(text: str, path: str, expected: str) -> str:
    if text in ("", ".", ".."):
        raise PathSyntaxError(f"expected no empty, '.' or '..' segment, got {path!r}")
    if not LITERAL.fullmatch(text) or "*" in text:
        raise PathSyntaxError(f"expected segments that are {expected}, got {text!r} in {path!r}")
    if re.search("%2f|%5c", text, re.IGNORECASE):
        raise PathSyntaxError(f"expected no escaped slash, got {text!r} in {path!r}")
    return text


def _refuse_repeated(segments: tuple[Segment, ...], path: str) -> None:
    names = [segment.text for segment in segments if segment.kind is Kind.PARAMETER]
    if len(set(names)) != len(names):
        repeated = next(name for name in names if names.count(name) > 1)
        raise PathSyntaxError(f"expected each parameter once, got '{{{repeated}}}' twice in {path!r}")


def resolve_context(context: str, version: str) -> str:
    """`/orders/$version` for `v1.0` is `/orders/v1.0`; the root is `/`. Raises `PathSyntaxError`."""
    if not context.startswith("/"):
        raise PathSyntaxError(f"expected a path that starts with '/', got {context!r}")
    if context == "/":
        return context
    resolved = context.replace("$version", version)
    if resolved.endswith("/"):
        raise PathSyntaxError(f"expected no slash at the end, got {context!r}")
    if len(resolved) > LONGEST:
        raise PathSyntaxError(f"expected at most {LONGEST} characters, got {len(resolved)}")
    for text in resolved[1:].split("/"):
        if "$" in text:
            raise PathSyntaxError(f"expected '$version' as the only variable, got {context!r}")
        _literal(text, context, "text or '$version'")
    return resolved
