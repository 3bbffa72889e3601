"""Documents as any client may send them: `make fuzz`."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import pytest
import yaml
from gatewright_documents.json_reader import parse_json
from gatewright_documents.mistake import Invalid
from gatewright_documents.values import JsonObject, JsonValue
from gatewright_documents.yaml_reader import YAML_1_1, parse_yaml, read_yaml
from hypothesis import given, settings
from hypothesis import strategies as st

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


def read(parse: Callable[[bytes], JsonValue], body: bytes) -> JsonValue:
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


read_yaml_1_1 = partial(read_yaml, dialect=YAML_1_1)


@pytest.mark.parametrize("parse", [parse_yaml, parse_json, read_yaml_1_1])
@settings(deadline=None)
@given(BODIES)
def test_a_body_is_a_document_or_has_mistakes(parse: Callable[[bytes], JsonValue], body: bytes) -> None:
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
