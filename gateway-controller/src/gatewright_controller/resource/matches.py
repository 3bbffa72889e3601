"""What operations match besides method and path: what each is called, which comes first, whether one covers another.

A match is written as CSS writes selectors of attributes: `[x-version=2]`, `[x-version^=2]` begins with, `$=` ends with,
`*=` contains, `~=` a regular expression; `[x-version]` is there, `[!x-version]` is not; `i` ignores case; `[?page=1]`
is a query parameter.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import msgspec
from msgspec import UNSET

from gatewright_controller.model import HeaderMatch, Operation, QueryMatch
from gatewright_controller.resource.regexes import matches_whole

Kind = Literal["exact", "prefix", "suffix", "contains", "regex", "present", "absent"]
KINDS: tuple[Kind, ...] = ("exact", "prefix", "suffix", "contains", "regex", "present", "absent")
SIGNS = {"exact": "=", "prefix": "^=", "suffix": "$=", "contains": "*=", "regex": "~="}
PLAIN = re.compile(r"[A-Za-z0-9._~:/+-]+")
LONGEST_SHOWN = 40
"""Characters of a value in a name; of a longer one the beginning is shown, and a digest."""
ANY_METHOD = "*"


@dataclass(frozen=True)
class Match:
    """One match. name: a header's in lower case. value: "" where the kind has none."""

    name: str
    kind: Kind
    value: str = ""
    ignore_case: bool = False

    @property
    def label(self) -> str:
        """`x-version=2`."""
        if self.kind == "absent":
            return f"!{self.name}"
        return self.name if self.kind == "present" else f"{self.name}{SIGNS[self.kind]}{self._value_shown}"

    @property
    def _value_shown(self) -> str:
        value = self._text
        if len(value) > LONGEST_SHOWN:  # no other value is shown with a '#' and without quotes
            beginning = re.match(PLAIN, value[:24])
            digest = hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()[:12]
            value = f"{beginning[0] if beginning else ''}#{digest}"
        elif not PLAIN.fullmatch(value):
            value = json.dumps(value).replace("|", "\\u007c")  # which separates the parts of a route's name
        return f"{value} i" if self._folds else value

    @cached_property
    def _has_case(self) -> bool:
        return self.value.lower() != self.value.upper()

    @property
    def _folds(self) -> bool:
        return self.ignore_case and self._has_case

    @cached_property
    def _text(self) -> str:
        return self.value.lower() if self._folds else self.value

    def covers(self, other: Match) -> bool:
        """Whether this match includes all that `other` matches, as far as that is known. Of regular expressions only
        equal ones, and exact values that they match, are known to be covered."""
        if "absent" in (self.kind, other.kind):
            return self.kind == other.kind
        if "present" in (self.kind, other.kind):
            return self.kind == "present"
        if "regex" in (self.kind, other.kind):
            return self._regex_covers(other)
        if other._folds and not self.ignore_case and self._has_case:
            return False
        folded = self._folds
        return self._part_covers(other.value.lower() if folded else other.value, other.kind)

    def _regex_covers(self, other: Match) -> bool:
        if self.kind == "regex" and other.kind == "exact" and not other._folds:
            return matches_whole(self.value, other.value)
        return (self.kind, self.value) == (other.kind, other.value)

    def _part_covers(self, text: str, kind: Kind) -> bool:
        match self.kind:
            case "exact":
                return kind == "exact" and text == self._text
            case "prefix":
                return kind in ("exact", "prefix") and text.startswith(self._text)
            case "suffix":
                return kind in ("exact", "suffix") and text.endswith(self._text)
        return self._text in text


class Matches(msgspec.Struct, frozen=True):
    """All of an operation's, sorted by name, each name once in each."""

    headers: tuple[Match, ...] = ()
    query: tuple[Match, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.headers or self.query)

    @property
    def label(self) -> str:
        """`[x-version=2][?page^=1]`; "" for none. Different for any two that are not the same."""
        shown = [match.label for match in self.headers]
        shown += [f"!?{match.label[1:]}" if match.kind == "absent" else f"?{match.label}" for match in self.query]
        return "".join(f"[{label}]" for label in shown)

    @property
    def precedence(self) -> tuple[int, int]:
        """The more headers the earlier; of as many, the more query parameters. What is equal stays as it is written."""
        return -len(self.headers), -len(self.query)

    def covers(self, other: Matches) -> bool:
        """Whether these match every request that `other` matches, as far as that is known."""
        return _cover(self.headers, other.headers) and _cover(self.query, other.query)


def _cover(mine: Sequence[Match], theirs: Sequence[Match]) -> bool:
    """Each of mine says of a name what theirs say of it or less: then nothing that they let pass stops here."""
    by_name = {match.name: match for match in theirs}
    return all(match.name in by_name and match.covers(by_name[match.name]) for match in mine)


NO_MATCHES = Matches()


def matches_of(operation: Operation) -> Matches:
    """Of an operation that is valid."""
    return all_matches(operation.headers, operation.query)


def all_matches(headers: Sequence[HeaderMatch], query: Sequence[QueryMatch]) -> Matches:
    """Each has one kind."""
    if not headers and not query:
        return NO_MATCHES
    return Matches(_sorted(map(header_match, headers)), _sorted(map(query_match, query)))


def _sorted(matches: Iterable[Match]) -> tuple[Match, ...]:
    return tuple(sorted(matches, key=lambda match: match.name))


def header_match(written: HeaderMatch) -> Match:
    """Of one that has a kind."""
    kind = kinds_of(written)[0]
    return Match(written.name.lower(), kind, _value(written, kind), written.ignore_case)


def query_match(written: QueryMatch) -> Match:
    """Of one that has a kind."""
    kind = kinds_of(written)[0]
    return Match(written.name, kind, _value(written, kind))


def _value(written: HeaderMatch | QueryMatch, kind: Kind) -> str:
    value = getattr(written, kind)
    return value if isinstance(value, str) else ""


def kinds_of(written: HeaderMatch | QueryMatch) -> list[Kind]:
    """Which of the kinds it has; a valid one has one."""
    return [kind for kind in KINDS if getattr(written, kind, UNSET) is not UNSET]


def operation_name(operation: Operation) -> str:
    """`GET /items/{id}`, `GET /items [x-version=2]`: what it is called in route names, logs and statistics."""
    return name_of(operation.method, operation.path, matches_of(operation).label)


def name_of(method: str, path: str, label: str = "") -> str:
    """An operation's name of its parts. It has no `|`, which separates those of a route's name."""
    name = f"{method.replace('%', '%25').replace('|', '%7C')} {path}"
    return f"{name} {label}" if label else name
