from __future__ import annotations

import json

import pytest
from gatewright_controller.documents import parse_json, parse_yaml
from gatewright_controller.mistake import Invalid
from hypothesis import given
from hypothesis import strategies as st

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(TEXT, JSON))
def test_json_comes_back_as_it_was(value: dict[str, object]) -> None:
    assert parse_json(json.dumps(value).encode()) == value


def test_yaml_has_the_types_of_json() -> None:
    text = b"{a: 2026-01-01, b: yes, c: true, d: 1.5, e: 12345678901234567890, f: null, g: off, h: 'x', i: [~]}"
    assert parse_yaml(text) == {
        "a": "2026-01-01", "b": "yes", "c": True, "d": 1.5, "e": 12345678901234567890,
        "f": None, "g": "off", "h": "x", "i": [None],
    }  # fmt: skip


def test_aliases_are_followed() -> None:
    assert parse_yaml(b"{a: &a [1], b: *a}") == {"a": [1], "b": [1]}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", "expected an object with apiVersion, kind, metadata and spec"),
        (b"- a", "expected an object with apiVersion, kind, metadata and spec"),
        (b"a: 1\nb: 2\na: 3", "expected each key once in an object, got 'a' twice"),
        (b"a: {1: b}", "expected keys that are text, got '1'; quote it"),
        (b"a: .nan", "expected numbers that JSON has, got nan"),
        (b"a: &a [*a]", "expected a finite document, got an alias to a value that holds it"),
        (b"a: [" + b"[" * 200 + b"]" * 200 + b"]", "expected a document nested at most 100 deep"),
    ],
)
def test_yaml_that_json_cannot_say_is_refused(text: bytes, expected: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse_yaml(text)
    assert str(caught.value) == expected


@pytest.mark.parametrize(
    "text", [b"a: [", b"a: b: c", b"\xff\xfe\x00", b"a: !!python/object:os.system x", b"a: 1\n---\nb: 2"]
)
def test_no_yaml_is_refused(text: bytes) -> None:
    with pytest.raises(Invalid, match="expected a YAML document"):
        parse_yaml(text)


def test_aliases_that_grow_without_bound_are_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)]
    with pytest.raises(Invalid, match="at most 200000 values"):
        parse_yaml("\n".join(lines).encode())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"[]", "expected an object with apiVersion, kind, metadata and spec"),
        (b'{"a": 1, "a": 2}', "expected each key once in an object, got 'a' twice"),
        (b'{"a": NaN}', "expected numbers that JSON has, got NaN"),
        (b'{"a": 1e999}', "expected numbers that JSON has, got inf"),
        (b'{"a": "\\ud800"}', "expected text in Unicode, got a lone surrogate in '\\ud800'"),
        (b"[" * 100_000, "expected a document nested at most 100 deep"),
    ],
)
def test_json_that_utf8_json_cannot_say_is_refused(text: bytes, expected: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse_json(text)
    assert str(caught.value) == expected


@pytest.mark.parametrize("text", [b"", b"{", b"\xff", b"{'a': 1}"])
def test_no_json_is_refused(text: bytes) -> None:
    with pytest.raises(Invalid, match="expected a JSON document"):
        parse_json(text)
