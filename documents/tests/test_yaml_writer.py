from __future__ import annotations

import textwrap

import pytest
import yaml
from gatewright_documents.values import JsonValue
from gatewright_documents.yaml_reader import YAML_1_1, read_yaml
from gatewright_documents.yaml_writer import yaml_text
from hypothesis import given
from hypothesis import strategies as st

LINES = st.lists(st.sampled_from(["", " ", "a", " a", "a ", "\t", "\ta", "#", "- a", "a: b", "|", "é", "\x85", "---"]))
TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"])),
    LINES.map("\n".join),
    st.sampled_from(
        ["yes", "~", "1", "1e3", "0x1f", "2026-01-01", "=", "<<", ".nan", "null", "a #b", "a: b", "[", "%"]
    ),
    st.sampled_from(["'", '"', "\\", "&a", "*a", "!a", "@", "`", "?", "? a", "-", "- a", "...", "---", "\ufeff", "\r"]),
)
KEYS = st.one_of(TEXTS, st.just("k" * 999), st.just("\x01" * 400))
NUMBERS = st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.just(10**99))
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=12,
)


def same(first: JsonValue, second: JsonValue) -> bool:
    """In Python 1, 1.0 and True are equal, and objects of any order; in a document that is stored they are not."""
    return repr(first) == repr(second)


@given(st.dictionaries(KEYS, VALUES))
def test_what_is_written_is_read_as_it_was(value: dict[str, JsonValue]) -> None:
    assert same(read_yaml(yaml_text(value).encode()), value)


@given(st.dictionaries(TEXTS, VALUES))
def test_other_readers_of_yaml_take_it_for_the_same(value: dict[str, JsonValue]) -> None:
    text = yaml_text(value)
    assert same(yaml.safe_load(text), value)
    assert same(read_yaml(text.encode(), YAML_1_1), value)


@given(VALUES)
def test_comments_change_nothing(value: JsonValue) -> None:
    paths = dict.fromkeys(leaves({"a": value}), "said")
    text = yaml_text({"a": value}, paths)
    assert same(read_yaml(text.encode()), {"a": value})
    assert text.count("  # said\n") == len(paths)


def leaves(value: JsonValue, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    if not value or not isinstance(value, dict | list):
        return [path]
    inside = value.items() if isinstance(value, dict) else enumerate(value)
    return [found for step, item in inside for found in leaves(item, (*path, step))]


def test_it_is_what_a_person_would_write() -> None:
    value = {
        "name": "orders-v1",
        "versions": ["v1", "1.0", 1.0, True],
        "empty": [{}, [], "", None],
        "rows": [[1, [2]], {"a": 1, "b": {"c": "yes"}}],
        "text": '#!/bin/sh\n\techo "$1"\n\nexit 0\n',
        "unended": "a\nb",
    }
    assert yaml_text(value, {("versions", 1): "the newest"}) == textwrap.dedent("""\
        name: orders-v1
        versions:
          - v1
          - "1.0"  # the newest
          - 1.0
          - true
        empty:
          - {}
          - []
          - ""
          - null
        rows:
          - - 1
            - - 2
          - a: 1
            b:
              c: "yes"
        text: |
          #!/bin/sh
          \techo "$1"

          exit 0
        unended: |-
          a
          b
        """)


@pytest.mark.parametrize("text", ["a\n\n", "\na", " a\nb", "a \nb", "a\r\nb", "a\n \n"])
def test_lines_that_could_not_be_seen_are_written_as_escapes(text: str) -> None:
    assert "\n" not in yaml_text({"a": text}).removesuffix("\n")
