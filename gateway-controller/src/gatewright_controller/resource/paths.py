"""Contexts and operation paths: their syntax, which of two is the narrower, and whether one covers another.

A path has many spellings: `/a:b` is `/a%3Ab`, `/caf%C3%A9` is `/caf%c3%a9`. Envoy decodes unreserved characters only
(RFC 3986, 6.2.2.2), upstreams decode all. So a literal is kept in one spelling, and `spellings` matches every one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import cached_property, lru_cache
from urllib.parse import unquote

import msgspec

from gatewright_controller._gen import envoy_names

LITERAL = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@]|%[0-9A-Fa-f]{2})+")
ENCODED = re.compile("%[0-9A-Fa-f]{2}")
UNRESERVED = re.compile(r"[A-Za-z0-9\-._~]+")
RAW = frozenset("!$&'()*+,;=:@[]")
"""Reserved characters as Envoy passes them on: raw or encoded, as they came. All others but unreserved are encoded."""
CHARACTER = re.compile(r"%[0-9A-F]{2}|.")
"""Of a literal in the one spelling that is kept."""
DOUBTFUL = re.compile(envoy_names.DOUBTFUL_PATH_PATTERN)
"""The literals that are refused under `strictPaths`, as the engine has Envoy refuse paths of requests."""
PARAMETER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_-]*)\}")
PATHS_KEPT = 1000
"""APIs have many paths in common."""
LONGEST = 1024


class Kind(IntEnum):
    """In the order of precedence: the narrower first."""

    LITERAL = 0
    PARAMETER = 1
    WILDCARD = 2


class Segment(msgspec.Struct, frozen=True):
    """One part of a path template between two slashes."""

    kind: Kind
    text: str = ""
    """A parameter's name; a literal with those of RAW raw, and all else that is not unreserved as %XX."""


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

    @cached_property
    def ends_in_wildcard(self) -> bool:
        """Whether it matches everything below its other segments: `/files/*`."""
        return bool(self.segments) and self.segments[-1].kind is Kind.WILDCARD

    @cached_property
    def fixed(self) -> tuple[Segment, ...]:
        """All but the wildcard."""
        return self.segments[:-1] if self.ends_in_wildcard else self.segments

    @property
    def slashed(self) -> PathTemplate | None:
        """The same with a slash more at its end, or less; None for `/` and wildcards, which match both."""
        if not self.segments or self.ends_in_wildcard:
            return None
        return replace(self, trailing_slash=not self.trailing_slash)

    @property
    def doubtful(self) -> str:
        """The first literal that an API with `strictPaths` cannot have; empty if there is none."""
        literals = (segment.text for segment in self.segments if segment.kind is Kind.LITERAL)
        return next((text for text in literals if DOUBTFUL.fullmatch(text)), "")

    @property
    def shape(self) -> PathTemplate:
        """Equal for two templates that match the same paths: the names of parameters do not count."""
        unlinked = (Segment(part.kind, part.text if part.kind is Kind.LITERAL else "") for part in self.segments)
        return PathTemplate(tuple(unlinked), self.trailing_slash)

    def covers(self, other: PathTemplate) -> bool:
        """Whether every path that matches `other` matches this one too."""
        mine, theirs = self.fixed, other.fixed
        if not self.ends_in_wildcard:
            same_end = other.trailing_slash == self.trailing_slash and not other.ends_in_wildcard
            if not same_end or len(mine) != len(theirs):
                return False
        return len(mine) <= len(theirs) and all(
            _covers(segment, another) for segment, another in zip(mine, theirs, strict=False)
        )

    def meets(self, other: PathTemplate) -> bool:
        """Whether some path matches both."""
        mine, theirs = self.fixed, other.fixed
        if self.ends_in_wildcard or other.ends_in_wildcard:
            reaches = self.ends_in_wildcard and len(mine) <= len(theirs)
            reached = other.ends_in_wildcard and len(theirs) <= len(mine)
            fits = reaches or reached
        else:
            fits = len(mine) == len(theirs) and self.trailing_slash == other.trailing_slash
        return fits and all(_meets(segment, another) for segment, another in zip(mine, theirs, strict=False))


class PathIndex:
    """The templates of an API by their first literals: there may be a thousand, of which few have to do with a path."""

    def __init__(self, templates: Iterable[PathTemplate]) -> None:
        self._all = frozenset(templates)
        self._found: dict[int, dict[str, list[PathTemplate]]] = {}
        """By the place of the first literal, -1 where there is none, and its text."""
        for template in self._all:
            literals = (at for at, segment in enumerate(template.fixed) if segment.kind is Kind.LITERAL)
            at = next(literals, -1)
            text = "" if at < 0 else template.fixed[at].text
            self._found.setdefault(at, {}).setdefault(text, []).append(template)

    def __contains__(self, template: PathTemplate) -> bool:
        return template in self._all

    def covering(self, template: PathTemplate) -> Iterator[PathTemplate]:
        """Those that match every path of this one; itself too, if it is there."""
        for at, texts in self._found.items():
            segment = _fixed_at(template, at)
            if at < 0 or (segment and segment.kind is Kind.LITERAL):
                near = texts.get(segment.text if segment else "", ())
                yield from (other for other in near if other.covers(template))

    def is_met(self, template: PathTemplate) -> bool:
        """Whether some path matches this one and one of them."""
        for at, texts in self._found.items():
            segment = _fixed_at(template, at)
            literal = segment and segment.kind is Kind.LITERAL
            near = [texts.get(segment.text, [])] if segment and literal else texts.values()
            if any(other.meets(template) for some in near for other in some):
                return True
        return False


def _fixed_at(template: PathTemplate, at: int) -> Segment | None:
    return template.fixed[at] if 0 <= at < len(template.fixed) else None


def _covers(segment: Segment, other: Segment) -> bool:
    return segment.kind is Kind.PARAMETER or segment == other


def _meets(segment: Segment, other: Segment) -> bool:
    return Kind.PARAMETER in (segment.kind, other.kind) or segment == other


class PathSyntaxError(ValueError):
    """The message says what was expected and what came."""


@lru_cache(maxsize=PATHS_KEPT)
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
    return Segment(Kind.LITERAL, _literal(text, path))


def _literal(text: str, path: str) -> str:
    """In the one spelling that is kept."""
    if text in ("", ".", ".."):
        raise PathSyntaxError(f"expected no empty, '.' or '..' segment, got {path!r}")
    if not text.isascii():
        cure = "write the others as UTF-8 and percent-encoded, as 'caf%C3%A9'"
        raise PathSyntaxError(f"expected ASCII characters, got {text!r} in {path!r}; {cure}")
    if not LITERAL.fullmatch(text) or "*" in text:
        raise PathSyntaxError(f"expected segments that are text, '{{name}}' or a last '*', got {text!r} in {path!r}")
    return ENCODED.sub(lambda found: _kept(found[0], text, path), text)


def _kept(encoded: str, text: str, path: str) -> str:
    character = unquote(encoded, encoding="latin-1")
    if character in "/\\":
        raise PathSyntaxError(f"expected no escaped slash, got {text!r} in {path!r}")
    if UNRESERVED.match(character):
        cure = f"write {character!r}: Envoy decodes it in requests"
        raise PathSyntaxError(f"expected no encoded {character!r}, got {text!r} in {path!r}; {cure}")
    if character == "\0":
        raise PathSyntaxError(f"expected no '%00', which Envoy refuses, got {text!r} in {path!r}")
    return character if character in RAW else encoded.upper()


def is_plain(text: str) -> bool:
    """Whether a literal has one spelling only, since Envoy decodes what of it may be encoded."""
    return UNRESERVED.fullmatch(text) is not None


def spellings(text: str) -> str:
    """RE2 for all spellings of a kept literal that an upstream decodes alike, as Envoy passes them on."""
    return "".join(_spellings(found[0], text[found.end() :]) for found in CHARACTER.finditer(text))


def _spellings(character: str, rest: str) -> str:
    if is_plain(character):
        return re.escape(character)
    raw, encoded = (unquote(character), character) if character[0] == "%" else (character, f"%{ord(character):02X}")
    digits = "".join(f"[{digit}{digit.lower()}]" if digit.isalpha() else digit for digit in encoded[1:])
    lenient = raw == "%" and not re.match("[0-9A-Fa-f]{2}", rest)  # what is no encoding stands for itself
    return f"(?:{re.escape(raw)}|%{digits})" if raw in RAW or lenient else f"%{digits}"


def _refuse_repeated(segments: tuple[Segment, ...], path: str) -> None:
    names = [segment.text for segment in segments if segment.kind is Kind.PARAMETER]
    if len(set(names)) != len(names):
        repeated = next(name for name in names if names.count(name) > 1)
        raise PathSyntaxError(f"expected each parameter once, got '{{{repeated}}}' twice in {path!r}")


def context_of(context: str, version: str) -> str:
    """`/orders/$version` for `v1.0` is `/orders/v1.0`; the root is `/`."""
    return context.replace("$version", version)


def is_below(path: str, top: str) -> bool:
    """Whether a path is this one, or below it."""
    return path == top or path.startswith(f"{top.rstrip('/')}/")


def check_context(context: str, version: str) -> None:
    """Raises `PathSyntaxError`.

    Contexts have unreserved characters only: the node finds them by their beginnings, in one spelling.
    """
    if not context.startswith("/"):
        raise PathSyntaxError(f"expected a path that starts with '/', got {context!r}")
    if context == "/":
        return
    resolved = context_of(context, version)
    if resolved.endswith("/"):
        raise PathSyntaxError(f"expected no slash at the end, got {context!r}")
    if len(resolved) > LONGEST:
        raise PathSyntaxError(f"expected at most {LONGEST} characters, got {len(resolved)}")
    for text in resolved[1:].split("/"):
        _check_context_segment(text, context)


def _check_context_segment(text: str, context: str) -> None:
    if "$" in text:
        raise PathSyntaxError(f"expected '$version' as the only variable, got {context!r}")
    if text in ("", ".", ".."):
        raise PathSyntaxError(f"expected no empty, '.' or '..' segment, got {context!r}")
    if not is_plain(text):
        expected = "letters, digits, '-', '.', '_', '~' and '$version' between the slashes of a context"
        raise PathSyntaxError(f"expected {expected}, got {text!r} in {context!r}")
