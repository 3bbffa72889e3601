from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator

import pytest
from gatewright_documents.json_reader import line_tree, parse_json
from gatewright_documents.mistake import Invalid, Mistake, Unreadable, format_path
from gatewright_documents.yaml_reader import OPENAPI, YAML_1_1, Dialect, parse_yaml, read_located_yaml, read_yaml
from hypothesis import assume, given, settings
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


def test_openapi_has_the_types_of_json_and_keys_as_they_are_written() -> None:
    keys, merged = (
        b"200: {true: 1}, 4e2: 2, ~: 3, 2026-01-01: 2026-01-01, no: no",
        b"a: &a {b: 1, 7: 2}, c: {<<: *a, b: 3}",
    )
    assert read_yaml(b"{%b, %b, '<<': 4}" % (keys, merged), OPENAPI) == {
        "200": {"true": 1}, "4e2": 2, "~": 3, "2026-01-01": "2026-01-01", "no": "no",
        "a": {"b": 1, "7": 2}, "c": {"b": 3, "7": 2}, "<<": 4,
    }  # fmt: skip
    with pytest.raises(Invalid, match="each key once in an object, got '200' twice"):
        read_yaml(b'{200: a, "200": b}', OPENAPI)
    with pytest.raises(Invalid, match="expected keys that are text, got an array"):
        read_yaml(b"? [a]\n: b", OPENAPI)


@pytest.mark.parametrize("dialect", [YAML_1_1, OPENAPI])
@pytest.mark.parametrize(
    ("body", "line"),
    [
        (b"<<", 1),
        (b"# above\n&a <<", 2),
        (b"a:\n  <<", 2),
        (b"- a\n- <<", 2),
        (b"<<: <<", 1),
        (b"<<:\n- {a: 1}\n- <<", 3),
        (b"&m <<: {b: 1}\na: *m", 2),
        (b"a: {&m <<: {b: 1}}\n<<: *m", 2),
    ],
)
def test_a_merge_key_is_a_key_only(dialect: Dialect, body: bytes, line: int) -> None:
    with pytest.raises(Unreadable) as caught:
        read_yaml(body, dialect)
    assert caught.value.mistakes == [Mistake.expecting("'<<' as a key", "it as a value", "quote it", line=line)]


@pytest.mark.parametrize("dialect", [YAML_1_1, OPENAPI])
@pytest.mark.parametrize("body", [b"!!merge x", b"a: !!merge x", b"[!!merge x]", b"<<: !!merge x", b"&a !!merge <<"])
def test_a_tag_makes_no_value_a_merge_key(dialect: Dialect, body: bytes) -> None:
    with pytest.raises(Unreadable) as caught:
        read_yaml(body, dialect)
    expected = Mistake.expecting("no tag but those of JSON's types", "'!!merge'", "take it out", line=1)
    assert caught.value.mistakes == [expected]


@pytest.mark.parametrize("dialect", [YAML_1_1, OPENAPI])
def test_quoted_a_merge_key_is_text(dialect: Dialect) -> None:
    assert read_yaml(b"'<<'", dialect) == "<<"
    assert read_yaml(b"{'<<': ['<<', !!str <<]}", dialect) == {"<<": ["<<", "<<"]}


@pytest.mark.parametrize("dialect", [YAML_1_1, OPENAPI])
def test_an_alias_of_a_merge_key_merges(dialect: Dialect) -> None:
    assert read_yaml(b"a: {&m <<: {b: 1}}\nc: {*m : {d: 2}}", dialect) == {"a": {"b": 1}, "c": {"d": 2}}


def test_the_reader_sets_how_many_values_a_document_may_have() -> None:
    yaml_text, json_text = b"a: [1, 2, 3]", b'{"a": [1, 2, 3]}'
    for most in (4, 100):
        refused = contextlib.nullcontext() if most == 100 else pytest.raises(Invalid, match="at most 4 values")
        with refused:
            read_located_yaml(yaml_text, most_values=most)
        refused = contextlib.nullcontext() if most == 100 else pytest.raises(Invalid, match="at most 4 values")
        with refused:
            parse_json(json_text, most_values=most)
    assert line_tree(json_text, 100).line == 1
    assert line_tree(json_text, 4).line == 0


@pytest.mark.parametrize("read", [parse_json, parse_yaml])
def test_a_document_is_nested_as_deep_as_the_limit_and_no_deeper(read: Callable[[bytes], object]) -> None:
    read(b'{"a": ' + b"[" * 99 + b"]" * 99 + b"}")
    with pytest.raises(Invalid, match="nested at most 100 deep"):
        read(b'{"a": ' + b"[" * 100 + b"]" * 100 + b"}")


def test_aliases_are_followed() -> None:
    assert parse_yaml(b"{a: &a [1], b: *a}") == {"a": [1], "b": [1]}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", "expected an object"),
        (b"- a", "expected an object"),
        (b"a: 1\nb: 2\na: 3", "expected each key once in an object, got 'a' twice; remove one of the two"),
        (b"a: {1: b}", "expected keys that are text, got '1'; quote it"),
        (
            b"a: !!python/object:x x",
            "expected no tag but those of JSON's types, got '!!python/object:x'; take it out",
        ),
        (b"a: !!timestamp 2026-01-01", "expected no tag but those of JSON's types, got '!!timestamp'; take it out"),
        (b"a: !!int [1]", "expected no tag but those of JSON's types, got '!!int'; take it out"),
        (b"a: !!float x", "expected a value of YAML's type float, got 'x'; put it in quotes"),
        (b"a: !!int ''", "expected a value of YAML's type int, got ''; put it in quotes"),
        (b"a: !!bool maybe", "expected a value of YAML's type bool, got 'maybe'; put it in quotes"),
        (b"a: *b", "expected an alias to a value further up, got 'b'; write it out"),
        (b"a: " + b"9" * 5000, "expected numbers of at most 100 digits; quote it"),
        (b"a: 0x" + b"f" * 5000, "expected numbers of at most 100 digits; quote it"),
        (b"k" * 1001 + b": 1", f"expected keys of at most 1000 characters, got '{'k' * 78}…; shorten it"),
        (b"? [a]\n: b", "expected keys that are text, got an array; quote it"),
        (b"a: .nan", "expected numbers that JSON has, got nan; put it in quotes"),
        (b"a: &a [*a]", "expected a finite document, got an alias to a value that holds it; write it out"),
        (b"a: [" + b"[" * 200 + b"]" * 200 + b"]", "expected a document nested at most 100 deep; nest less deep"),
    ],
)
def test_yaml_that_json_cannot_say_is_refused(text: bytes, expected: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse_yaml(text)
    assert str(caught.value) == expected
    assert [mistake.line > 0 for mistake in caught.value.mistakes] == [True]


@pytest.mark.parametrize("text", [b"a: [", b"a: b: c", b"\xff\xfe\x00", b"a: 1\n---\nb: 2", b"a: \0", b"a: \xff"])
def test_no_yaml_is_refused(text: bytes) -> None:
    with pytest.raises(Invalid, match=r"expected (a YAML document|text in UTF-8)"):
        parse_yaml(text)


def test_aliases_that_grow_without_bound_are_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)]
    with pytest.raises(Invalid, match="at most 50000 values"):
        parse_yaml("\n".join(lines).encode())
    with pytest.raises(Invalid, match="expected aliases that add at most 1048576 characters"):
        parse_yaml(b"a: &a " + b"x" * 300_000 + b"\nb: [*a, *a, *a, *a]")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"[]", "expected an object"),
        (b'{"a": 1, "a": 2}', "expected each key once in an object, got 'a' twice; remove one of the two"),
        (b'{"a": NaN}', "a: expected numbers that JSON has, got nan; put it in quotes"),
        (b'{"a": 1e999}', "a: expected numbers that JSON has, got inf; put it in quotes"),
        (b'{"a": ' + b"9" * 5000 + b"}", "expected numbers of at most 100 digits; quote it"),
        (b'{"a": ' + b"9" * 500 + b"}", "expected numbers of at most 100 digits; quote it"),
        (b'{"a": [' + b"1," * 60_000 + b"1]}", "expected at most 50000 values, aliases written out; make it smaller"),
        (b'{"' + b"k" * 1001 + b'": 1}', f"expected keys of at most 1000 characters, got '{'k' * 78}…; shorten it"),
        (b'{"a": ["\\ud800"]}', "a[0]: expected text in Unicode, got a lone surrogate in '\\ud800'; take it out"),
        (b"[" * 100_000, "expected a document nested at most 100 deep; nest less deep"),
    ],
)
def test_json_that_utf8_json_cannot_say_is_refused(text: bytes, expected: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse_json(text)
    assert str(caught.value) == expected


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (b'{\n"a": 1,\n"a": 2}', 3),
        (b'{"a":\n {"b": ["\\ud83d\\ude00",\n"\\ud800"]}}', 3),
        (b'{"a": 1,\n"b": NaN}', 2),
        (b'{"a": 1,\n"b": ' + b"9" * 5000 + b"}", 2),
        (b'{"a": 1,\nb}', 2),
        (b'{"a": 1,\n"b": "\xff"}', 2),
    ],
)
def test_mistakes_in_json_have_their_lines(text: bytes, line: int) -> None:
    with pytest.raises(Invalid) as caught:
        parse_json(text)
    assert [mistake.line for mistake in caught.value.mistakes] == [line]


@pytest.mark.parametrize("text", [b"", b"{", b"\xff", b"{'a': 1}", b'{"a": "\0"}'])
def test_no_json_is_refused(text: bytes) -> None:
    with pytest.raises(Invalid, match=r"expected (a JSON document|text in UTF-8)"):
        parse_json(text)


# ---------------------------------------------------------------- whatever comes

SECONDS = 2.0
"""Of CPU, on a machine that has other work: what is here takes 0.2 s at most on an idle one."""

MIB = 1024 * 1024
NASTY = {
    "items": b"a: [" + b"x," * (MIB // 2) + b"]",
    "brackets": b"[" * MIB,
    "braces": b"{a: " * (MIB // 4),
    "dashes": b"- " * (MIB // 2),
    "question marks": b"? " * (MIB // 2),
    "indents": b"\n".join(b" " * depth + b"a:" for depth in range(1400)),
    "keys": b"".join(b"k%d: 1\n" % number for number in range(80_000)),
    "keys in JSON": b"{" + b",".join(b'"k%d":1' % number for number in range(90_000)) + b',"k1":1}',
    "20,000 keys and one twice": b"{" + b",".join(b'"k%d":1' % number for number in range(20_000)) + b',"k1":1}',
    "objects": b'{"a":[' + b"{}," * (MIB // 3) + b"1]}",
    "anchors": b"".join(b"- &a%d x\n" % number for number in range(90_000)),
    "aliases of text": b"a: &a " + b"x" * 700_000 + b"\nb: [" + b"*a," * 49_000 + b"]",
    "documents": b"---\n" * (MIB // 4),
    "tags": b"- !!str x\n" * 100_000,
    "directives": b"".join(b"%%TAG !a%d! b\n" % number for number in range(70_000)) + b"--- a",
    "comments": b"#\n" * (MIB // 2),
    "colons": b":" * MIB,
    "digits": b"a: " + b"9" * MIB,
    "sexagesimal": b"a: 1" + b":1" * (MIB // 2),
    "floats": b"a: 1" + b"_" * MIB + b".e",
    "digits in JSON": b'{"a":' + b"9" * MIB + b"}",
    "numbers": b'{"a":[' + (b"9" * 4200 + b",") * 240 + b"1]}",
    "escapes": b'{"a": "' + b"\\ud800" * (MIB // 6) + b'"}',
    "long keys, deep": b"".join(b" " * depth + b"k" * 1000 + b":\n" for depth in range(90))
    + b" " * 90 + b"[" + b"x," * 49_000 + b"]",
    "quotes": b'{"' + b'\\"]' * 300 + b'": 1}',
}  # fmt: skip


def read(text: bytes) -> None:
    """Reads a body as the controller does: its values, or its mistakes, and the lines of both."""
    for parse in (parse_json, parse_yaml, lambda body: read_yaml(body, YAML_1_1)):
        with contextlib.suppress(Invalid):
            json.dumps(parse(text), allow_nan=False).encode()
    line_tree(text).line_of("spec.operations[0].policies")


@pytest.mark.parametrize("name", NASTY)
def test_a_body_of_a_mebibyte_is_read_in_bounded_time(name: str) -> None:
    began = time.process_time()
    read(NASTY[name])
    assert time.process_time() - began < SECONDS


PIECES = st.sampled_from(
    [b"a", b"b: ", b"- ", b"\n", b" ", b"  ", b"[", b"]", b"{", b"}", b",", b": ", b"&a ", b"*a", b"&b ", b"*b",
     b"!!int ", b"!!bool ", b"!!float ", b"!!str ", b"!!timestamp ", b"!!set ", b"!x ", b"! ", b"? ", b"|\n", b">\n",
     b"'", b'"', b"\\u", b"\\ud800", b"0x", b"1:2", b".nan", b"1e9", b"-", b"---\n", b"...\n", b"%YAML 1.1\n", b"#",
     b"\0", b"\xff",
     b"\t", b"<<: ", b"~", b"NaN", b"999999999999", b"\xe2\x80\xa8", b"\xef\xbb\xbf"]
)  # fmt: skip


@settings(max_examples=400)
@given(st.lists(PIECES, max_size=40).map(b"".join) | st.binary(max_size=40))
def test_whatever_comes_is_read_or_refused(text: bytes) -> None:
    began = time.process_time()
    read(text)
    assert time.process_time() - began < SECONDS


FIELDS = st.recursive(
    st.none() | TEXT,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(TEXT | st.sampled_from(['"]', '["', "a.b", "[0]"]), inner)
    ),
    max_leaves=20,
)


@given(st.dictionaries(TEXT, FIELDS))
def test_every_field_is_found_again_by_its_name(value: dict[str, object]) -> None:
    """In JSON written one value to a line; the names of keys with brackets and quotes in them may mean another one.
    JSON with keys that have more than 1024 characters, escapes written out, is no YAML, and none of its lines is known.
    """
    text = json.dumps(value, indent=1)
    where = line_tree(text.encode())
    assume(where.line)
    for path, line in lines_of(value, 1, ()):
        plain = all(isinstance(step, int) or not {"[", "]", '"'} & set(step) for step in path)
        if plain:
            assert where.line_of(format_path(path)) == line


def lines_of(value: object, line: int, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], int]]:
    """The line of each value as json.dumps with an indent writes it."""
    yield path, line
    at = line
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, item in inside:
        at += 1
        yield from lines_of(item, at, (*path, step))
        at += json.dumps(item, indent=1).count("\n")
