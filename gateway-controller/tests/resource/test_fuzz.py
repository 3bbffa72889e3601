"""Paths as any client may send them: `make fuzz`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import quote, unquote_to_bytes

from gatewright_controller.resource.paths import parse_path
from gatewright_controller.translate.envoy import PathMatch
from gatewright_controller.translate.route_table import path_match
from hypothesis import given, settings
from hypothesis import strategies as st

CHARACTERS = st.sampled_from([*"abB7-._~", *"!$&'()+,;=:@", *'*[]%"<>^`{|} é€', "\x7f", "\x01"])
LITERALS = st.text(CHARACTERS, min_size=1, max_size=4).filter(lambda text: text not in (".", ".."))
FEW = st.shared(st.lists(LITERALS, min_size=1, max_size=3), key="literals")
"""The literals of an example, so that requests meet templates."""
LITERAL = FEW.flatmap(st.sampled_from)
UNRESERVED = re.compile(rb"[A-Za-z0-9\-._~]")
WRITABLE = "!$&'()+,;=:@"  # as they are in a definition
SENT = WRITABLE + "*[]"  # as they are in a request, after Envoy's normalization


def written(literal: str, raw: Sequence[bool], lower: bool) -> str:
    """A spelling of a literal in a definition."""
    pieces = [
        character if character in WRITABLE and raw[at % len(raw)] else quote(character, safe="-._~")
        for at, character in enumerate(literal)
    ]
    text = "".join(pieces)
    return re.sub("%..", lambda found: found[0].lower(), text) if lower else text


def asked_for(text: str, choices: Sequence[int]) -> str:
    """A spelling of it in a request, as Envoy's normalization leaves it."""
    out = []
    for at, byte in enumerate(text.encode()):
        choice = choices[at % len(choices)]
        if UNRESERVED.match(bytes([byte])) or (chr(byte) in SENT and choice == 0):
            out.append(chr(byte))
        else:
            out.append(f"%{byte:02x}" if choice == 1 else f"%{byte:02X}")
    return "".join(out)


TEMPLATES = st.lists(
    st.tuples(st.lists(st.one_of(LITERAL, LITERAL, st.none()), min_size=1, max_size=3), st.booleans()),
    min_size=1,
    max_size=5,
)
"""Literals, or None for a parameter; and whether a wildcard follows."""


def template_of(segments: Sequence[str | None], wildcard: bool, raw: Sequence[bool], lower: bool) -> str:
    texts = [f"{{p{at}}}" if segment is None else written(segment, raw, lower) for at, segment in enumerate(segments)]
    return "/" + "/".join([*texts, *(["*"] if wildcard else [])])


def is_meant(segments: Sequence[str | None], wildcard: bool, request: Sequence[bytes]) -> bool:
    """Whether an upstream, which decodes all, takes the request for one of the template."""
    enough = len(request) >= len(segments) if wildcard else len(request) == len(segments)
    return enough and all(
        segment is None or segment.encode() == got for segment, got in zip(segments, request, strict=False)
    )


def is_matched(match: PathMatch, path: str) -> bool:
    """Matches as Envoy does; translate/test_envoy.py compares the real one."""
    match match.kind:
        case "exact":
            return path == match.value
        case "prefix":
            return path == match.value or path.startswith(f"{match.value}/")
        case "regex":
            return re.fullmatch(match.value, path) is not None
    return True


@settings(deadline=None)
@given(
    TEMPLATES,
    st.sampled_from(["/", "/orders"]),
    st.lists(st.booleans(), min_size=1, max_size=5),
    st.booleans(),
    st.lists(LITERAL, min_size=1, max_size=4),
    st.lists(st.integers(0, 2), min_size=1, max_size=7),
)
def test_a_request_meets_the_route_that_its_upstream_takes_it_for(
    templates: list[tuple[list[str | None], bool]],
    context: str,
    raw: list[bool],
    lower: bool,
    segments: list[str],
    choices: list[int],
) -> None:
    """With no spelling does a request pass by the stricter route to a looser one."""
    ordered = sorted(
        ((parse_path(template_of(*parts, raw, lower)), parts) for parts in templates),
        key=lambda pair: pair[0].precedence,
    )
    path = "".join(f"/{asked_for(segment, choices)}" for segment in segments)
    decoded = [unquote_to_bytes(segment) for segment in path[1:].split("/")]
    whole = path if context == "/" else context + path
    met = next((parts for template, parts in ordered if is_matched(path_match(context, template), whole)), None)
    meant = next((parts for _, parts in ordered if is_meant(*parts, decoded)), None)
    assert met == meant, (whole, [template_of(*parts, raw, lower) for _, parts in ordered])
