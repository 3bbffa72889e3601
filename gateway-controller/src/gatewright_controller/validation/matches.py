"""What operations say of methods, headers and query parameters, and whether each of them can be reached."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from gatewright_documents.mistake import Mistake, shown
from msgspec import UNSET

from gatewright_controller._gen import envoy_names
from gatewright_controller.model import HeaderMatch, QueryMatch
from gatewright_controller.resource.matches import KINDS, Matches, kinds_of
from gatewright_controller.resource.paths import PathTemplate
from gatewright_controller.resource.regexes import RegexError, check_regex
from gatewright_controller.validation.draft import DraftMatch, DraftOperation

STANDARD = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY")
NEVER = ("CONNECT", "TRACE")
FOLDED = ("exact", "prefix", "suffix", "contains")
VALUE = re.compile(r"[!-~]([ \t!-~]*[!-~])?|")
"""Of a header, as it comes: visible ASCII, with spaces inside only (RFC 9110, 5.5)."""
BOUND = {
    "host": "use spec.hosts",
    "connection": "it is for one connection alone",
    "content-length": "the gateway makes it anew",
    "keep-alive": "it is for one connection alone",
    "proxy-connection": "it is for one connection alone",
    "te": "it is for one connection alone",
    "transfer-encoding": "it is for one connection alone",
    "upgrade": "it is for one connection alone",
    "x-request-id": "the gateway sets it by itself",
}
SET = ("x-envoy-", envoy_names.OWN_HEADER_PREFIX, "x-forwarded-")


def check_method(drafted: DraftOperation) -> Iterator[Mistake]:
    """It is one that may come; the case is part of it."""
    if drafted.method is None:
        return
    upper, where = drafted.method.upper(), f"{drafted.field}.method"
    if upper in NEVER:
        expected = "expected a method that may go upstream"
        yield Mistake(where, f"{expected}, got {drafted.method!r}, which the gateway refuses")
    elif upper in STANDARD and drafted.method != upper:
        yield Mistake(where, f"expected {upper!r}, got {drafted.method!r}; the case of a method is part of it")


def check_matches(drafted: DraftOperation) -> Iterator[Mistake]:
    """Each says one thing of a name of its own, and can be met."""
    yield from _names_once(drafted.matches.headers)
    yield from _names_once(drafted.matches.query)
    for header in drafted.matches.headers:
        yield from _check_name(header)
        yield from _check_kind(header)
        yield from _check_value(header)
    for parameter in drafted.matches.query:
        yield from _check_kind(parameter)


def _check_name(header: DraftMatch[HeaderMatch]) -> Iterator[Mistake]:
    name = header.written.name.lower()
    why = BOUND.get(name) or ("the gateway sets it by itself" if name.startswith(SET) else "")
    if why:
        yield Mistake(f"{header.field}.name", f"expected a header that clients say, got {header.written.name!r}; {why}")


def _check_kind(match: DraftMatch[HeaderMatch] | DraftMatch[QueryMatch]) -> Iterator[Mistake]:
    written, kinds = match.written, kinds_of(match.written)
    if len(kinds) != 1:
        possible = ", ".join(kind for kind in KINDS if hasattr(written, kind))
        yield Mistake(match.field, f"expected one of {possible}, got {' and '.join(kinds) or 'none of them'}")
    for kind, other in (("present", "absent"), ("absent", "present")):
        if getattr(written, kind) is False:
            yield Mistake(f"{match.field}.{kind}", f"expected true, got false; say {other}: true")
    if written.regex is not UNSET:
        try:
            check_regex(written.regex)
        except RegexError as error:
            yield Mistake(f"{match.field}.regex", str(error))
    if isinstance(written, HeaderMatch) and written.ignore_case and not set(kinds) & set(FOLDED):
        cure = "; write (?i) before the regex" if written.regex is not UNSET else "; remove it"
        got = f"got it with {' and '.join(kinds) or 'none of them'}{cure}"
        yield Mistake(f"{match.field}.ignoreCase", f"expected it with {', '.join(FOLDED)} only, {got}")


def _check_value(header: DraftMatch[HeaderMatch]) -> Iterator[Mistake]:
    """Of what no request can have nothing is matched: Envoy takes off spaces at the ends of a value."""
    for kind in FOLDED:
        value = getattr(header.written, kind)
        if value is UNSET:
            continue
        begins, ends = (
            kind in ("suffix", "contains"),
            kind in ("prefix", "contains"),
        )  # there may be more before, behind
        if not VALUE.fullmatch(f"{'x' if begins else ''}{value}{'x' if ends else ''}"):
            expected = "expected visible ASCII, with spaces inside only, for that is what a header can have"
            yield Mistake(f"{header.field}.{kind}", f"{expected}, got {shown(value)}")


def _names_once(matches: Iterable[DraftMatch[HeaderMatch] | DraftMatch[QueryMatch]]) -> Iterator[Mistake]:
    first: dict[str, str] = {}
    for match in matches:
        key = match.written.name.lower() if isinstance(match.written, HeaderMatch) else match.written.name
        if (earlier := first.setdefault(key, match.field)) != match.field:
            got = f"got {match.written.name!r}, which {earlier} has already"
            yield Mistake(f"{match.field}.name", f"expected each name once, {got}; say both in one regex")


def check_reach(operations: Iterable[tuple[DraftOperation, PathTemplate]], *, ordered: bool) -> Iterator[Mistake]:
    """No operation takes all requests of a later one: of those of one method and path, in the order of precedence.
    ordered: that is the order of the file."""
    groups: dict[tuple[str, PathTemplate], list[DraftOperation]] = {}
    for drafted, template in operations:
        groups.setdefault((drafted.method or drafted.field, template.shape), []).append(drafted)
    for group in groups.values():
        yield from _check_group(group, ordered=ordered)


def _check_group(group: list[DraftOperation], *, ordered: bool) -> Iterator[Mistake]:
    """Unless the order is that of the file, only what says something of the same names may cover: of more names it
    stands before, and covers less."""
    before: dict[tuple[tuple[str, ...], tuple[str, ...]], list[tuple[DraftOperation, Matches]]] = {}
    for drafted in group:
        if (own := drafted.matches.all) is None:
            continue
        names = tuple(match.name for match in own.headers), tuple(match.name for match in own.query)
        earlier = before.setdefault(((), ()) if ordered else names, [])
        found = next(((operation, matches) for operation, matches in earlier if matches.covers(own)), None)
        if found:
            yield _never_met(drafted, found[0], same=own.covers(found[1]))
        else:
            earlier.append((drafted, own))


def _never_met(drafted: DraftOperation, earlier: DraftOperation, *, same: bool) -> Mistake:
    if same:
        expected = f"expected each route once, got {drafted.name}, which {earlier.field} has already"
        return Mistake(drafted.field, expected)
    got = f"got {drafted.name} behind {earlier.field}, {earlier.name}, which takes all its requests"
    return Mistake(drafted.field, f"expected operations that requests can meet, {got}; put it before that one")
