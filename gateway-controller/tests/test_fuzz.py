"""Documents and paths as anybody may send them: `make fuzz`."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import quote, unquote_to_bytes

import pytest
import yaml
from gatewright_controller.documents import parse_json, parse_yaml
from gatewright_controller.mistake import Invalid
from gatewright_controller.model import JsonObject
from gatewright_controller.paths import parse_path
from gatewright_controller.translate.envoy_types import PathMatch
from gatewright_controller.translate.routes import path_match
from hypothesis import given, settings
from hypothesis import strategies as st

# ------------------------------------------------------------------ documents

SECONDS = 5  # of CPU, for a body of this size, on a machine that does other things too
LARGEST = 1 << 20  # bytes: what the API takes
LONGEST = 2000  # characters of a message
TEXTS = st.one_of(
    st.text(max_size=8), st.sampled_from(["a", "b", "~", "yes", "1", "-1.5e3", "0x1f", "2026-01-01", "=", "<<", ".nan"])
)
WORDS = st.sampled_from(
    [
        *("a", "b", "a: ", "b: ", "- ", "? ", ": ", ", ", "\n", "\n  ", "    ", "\t", "{", "}", "[", "]", "{}", "[]"),
        *(
            "&a ",
            "&b ",
            "*a",
            "*b",
            "<<: ",
            "!!",
            "!!int ",
            "!!float ",
            "!!bool ",
            "!!timestamp ",
            "!!binary ",
            "!!set ",
        ),
        *("!!omap ", "!!python/name:os.system ", "!<tag:yaml.org,2002:str> ", "!e!", "%TAG ! tag:x,2026:", "%YAML 1.1"),
        *("---", "...", "|", ">", "|2-", "#", '"', "'", "\\", "\\ud800", "\\x00", "9", "0", ".inf", "1e999", "\x85"),
        *("true", "null", '{"a":', '"a"', "1:2:3", "\ufeff", "\x00", "é", "\U0001f600"),
    ]
)
REPEATED = st.builds(lambda words, times: "".join(words) * times, st.lists(WORDS, max_size=6), st.integers(0, 20_000))
NUMBERED = st.builds(
    lambda before, after, times: "".join(f"{before}{n}{after}" for n in range(times)),
    st.sampled_from(["a", "&a", "- &a", "a: &a", "*a", "- *a", "{a", "[a", '"a', "%TAG !a", "!a", "9"]),
    st.sampled_from([": ", "\n", ", ", ": b\n", ": x, ", " ", '": 1, ', "! tag:x,2026:\n", ": [*a0, *a0]\n", "]", "}"]),
    st.integers(0, 40_000),
)
ALIASES = st.builds(
    lambda width, depth: (
        "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * width)}]\n" for n in range(1, depth))
    ),
    st.integers(1, 300),
    st.integers(1, 60),
)
YAML = st.lists(st.one_of(WORDS, TEXTS, REPEATED, NUMBERED, ALIASES), max_size=6).map("".join)
BODIES = st.one_of(
    YAML.map(lambda text: text.encode("utf-8", "surrogatepass")[:LARGEST]),
    YAML.map(lambda text: text.encode("utf-16", "surrogatepass")[:LARGEST]),
    st.binary(max_size=100),
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 70), 1 << 70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)
OBJECTS = st.dictionaries(TEXTS, JSON, max_size=5)


def read(parse: Callable[[bytes], JsonObject], body: bytes) -> JsonObject | None:
    """None where there are mistakes."""
    with at_most(SECONDS):
        try:
            return parse(body)
        except Invalid as invalid:
            mistakes = invalid.mistakes
    assert mistakes
    assert all(len(mistake.message) < LONGEST for mistake in mistakes)
    return None


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Fails the block once it has taken so much CPU."""

    def stop(*_: object) -> None:
        raise AssertionError(f"expected an end within {seconds} s of CPU")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


@pytest.mark.parametrize("parse", [parse_yaml, parse_json])
@settings(deadline=None)
@given(BODIES)
def test_a_body_is_a_document_or_has_mistakes(parse: Callable[[bytes], JsonObject], body: bytes) -> None:
    document = read(parse, body)
    if document is not None:
        assert json.loads(json.dumps(document, allow_nan=False)) == document


@settings(deadline=None)
@given(OBJECTS)
def test_what_json_can_say_is_read_as_it_was_written(value: JsonObject) -> None:
    assert read(parse_json, json.dumps(value).encode()) == value
    assert read(parse_json, json.dumps(value, ensure_ascii=False).encode()) == value
    assert read(parse_yaml, yaml.safe_dump(value).encode()) == value
    assert read(parse_yaml, yaml.safe_dump(value, default_flow_style=True).encode()) == value


# ------------------------------------------------------------------ paths

CHARACTERS = st.sampled_from([*"abB7-._~", *"!$&'()+,;=:@", *'*[]%"<>^`{|} é€', "\x7f", "\x01"])
LITERALS = st.text(CHARACTERS, min_size=1, max_size=4).filter(lambda text: text not in (".", ".."))
FEW = st.shared(st.lists(LITERALS, min_size=1, max_size=3), key="literals")
"""Those of one example, so that requests meet templates."""
LITERAL = FEW.flatmap(st.sampled_from)
UNRESERVED = re.compile(rb"[A-Za-z0-9\-._~]")
WRITABLE = "!$&'()+,;=:@"  # as they are in a definition
SENT = WRITABLE + "*[]"  # as they are in a request, after Envoy's normalization


def written(literal: str, raw: Sequence[bool], lower: bool) -> str:
    """One of the ways in which a definition may have a literal."""
    pieces = [
        one if one in WRITABLE and raw[at % len(raw)] else quote(one, safe="-._~") for at, one in enumerate(literal)
    ]
    text = "".join(pieces)
    return re.sub("%..", lambda found: found[0].lower(), text) if lower else text


def asked_for(text: str, choices: Sequence[int]) -> str:
    """One of the ways in which a client may ask for it, as Envoy's normalization leaves it."""
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
    texts = [f"{{p{at}}}" if one is None else written(one, raw, lower) for at, one in enumerate(segments)]
    return "/" + "/".join([*texts, *(["*"] if wildcard else [])])


def is_meant(segments: Sequence[str | None], wildcard: bool, request: Sequence[bytes]) -> bool:
    """Whether an upstream, which decodes all, takes the request for one of the template."""
    enough = len(request) >= len(segments) if wildcard else len(request) == len(segments)
    return enough and all(one is None or one.encode() == got for one, got in zip(segments, request, strict=False))


def is_matched(match: PathMatch, path: str) -> bool:
    """What Envoy does; held to the real one in translate/test_envoy.py."""
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
    """None of its spellings has it pass by the route that is meant, to a looser one."""
    ordered = sorted(
        ((parse_path(template_of(*one, raw, lower)), one) for one in templates), key=lambda pair: pair[0].precedence
    )
    path = "".join(f"/{asked_for(segment, choices)}" for segment in segments)
    decoded = [unquote_to_bytes(segment) for segment in path[1:].split("/")]
    whole = path if context == "/" else context + path
    met = next((one for template, one in ordered if is_matched(path_match(context, template), whole)), None)
    meant = next((one for _, one in ordered if is_meant(*one, decoded)), None)
    assert met == meant, (whole, [template_of(*one, raw, lower) for _, one in ordered])
