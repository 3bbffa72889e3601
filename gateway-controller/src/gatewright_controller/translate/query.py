"""Query parameters as Envoy is to match them. Envoy decodes none, and of one that stands twice it sees the first.

Upstreams decode all, and take the first, the last, or a list. So a value is matched in all its spellings; and where an
API has `strictPaths`, a parameter that operations match and that stands twice, or whose name is encoded, is refused:
else one that policies stand behind could be sent past them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from gatewright_controller.resource.matches import Match
from gatewright_controller.translate.envoy import PATH_AND_QUERY, ValueMatch

ENCODED_UNRESERVED = r"%(?:2[DEde]|3[0-9]|4[1-9A-Fa-f]|5[0-9AFaf]|6[1-9A-Fa-f]|7[0-9AEae])"
"""What needs no encoding (RFC 3986, 2.3) and has one."""
BEGINS = r"[^?]*\?(?:.*&)?"
"""All before a parameter."""
ENDS = r"(?:[=&].*)?"
"""All behind a parameter's name."""


def parameter_match(match: Match) -> ValueMatch:
    """In requests, an exact value and a prefix may be encoded in any way; a regex is of what is sent."""
    if match.kind == "exact" and match.value:
        return ValueMatch(match.name, "regex", spelled(match.value))
    if match.kind == "prefix":
        return ValueMatch(match.name, "regex", f"{spelled(match.value)}.*")
    return ValueMatch(match.name, match.kind, match.value)


def spelled(text: str) -> str:
    """RE2 for all that is decoded to the text: a space may be a plus."""
    return "".join(map(_spelled, text))


def _spelled(character: str) -> str:
    encoded = "".join(map(_byte, character.encode()))
    if character == " ":
        return rf"(?:\+|{encoded})"
    if not character.isascii() or not character.isprintable() or character in "&+#%":
        return encoded
    return f"(?:{re.escape(character)}|{encoded})"


def _byte(value: int) -> str:
    return "%" + "".join(f"[{digit}{digit.lower()}]" if digit.isalpha() else digit for digit in f"{value:02X}")


def ambiguous(queries: Iterable[Iterable[Match]]) -> Iterator[tuple[tuple[ValueMatch, ...], tuple[ValueMatch, ...]]]:
    """Headers and query parameters of the requests that are to be refused, for operations that match these."""
    parameters = {(match.name, match.kind == "regex") for query in queries for match in query}
    names = {name: spelled(name) for name in sorted({name for name, _ in parameters})}
    if not names:
        return
    refused = [f"{spelling}(?:=[^&]*)?&(?:.*&)?{spelling}{ENDS}" for spelling in names.values()]
    refused += [f"{names[name]}=[^&]*{ENCODED_UNRESERVED}.*" for name, as_sent in sorted(parameters) if as_sent]
    yield (_path(f"{BEGINS}(?:{'|'.join(refused)})"),), ()
    for name, spelling in names.items():  # of one, the path has it and the query has not: its name is encoded
        yield (_path(f"{BEGINS}{spelling}{ENDS}"),), (ValueMatch(name, "absent"),)


def _path(pattern: str) -> ValueMatch:
    return ValueMatch(PATH_AND_QUERY, "regex", pattern)
