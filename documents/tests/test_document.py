from __future__ import annotations

import time
from pathlib import Path

import pytest
from gatewright_documents.document import Document, read_document, read_file
from gatewright_documents.mistake import Unreadable
from gatewright_documents.yaml_reader import JSON_TYPES

BOMB = "\n".join(
    ["a0: &a0 [x,x,x,x,x,x,x,x,x,x]", *(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12))]
)
MERGES = "\n".join(
    ["a0: &a0 {a: x}", *(f"a{n}: &a{n} {{<<: [{','.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, 12))]
)


def read(text: str) -> Document:
    return read_document(text.encode(), "a.yaml")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (BOMB, "a.yaml:5: expected at most 50000 values, aliases written out; make it smaller"),
        (MERGES, "a.yaml:6: expected at most 50000 values, aliases written out; make it smaller"),
        ("a: &a " + "x" * 3_000_000 + "\nb: [*a, *a, *a, *a]", "expected aliases that add at most 1048576 characters"),
        ("x" * 5_000_000, "a.yaml: expected a file of at most 4 MiB, got 5,000,000 bytes; make it smaller"),
        ("%TAG !a! b\n" * 100 + "--- a", "expected at most 10 lines that begin with %; take the others out"),
        ("a: &a [*a]", "expected a finite document, got an alias to a value that holds it; write it out"),
        ("a: " + "[" * 100 + "]" * 100, "expected a document nested at most 100 deep; nest less deep"),
        ("[" * 100_000, "expected a YAML document: while increasing flow level: exceeded maximum nesting depth; fix"),
        ("a: " + "9" * 5000, "expected numbers of at most 100 digits; quote it"),
        ("a: 1" + ":1" * 200_000, "expected numbers of at most 100 digits; quote it"),
        ("a: !!int ''", "expected a value of YAML's type int, got ''; put it in quotes"),
        ("a: !!bool maybe", "expected a value of YAML's type bool, got 'maybe'; put it in quotes"),
        ("a: !!float x", "expected a value of YAML's type float, got 'x'; put it in quotes"),
        ("a: !!timestamp x", "expected no tag but those of JSON's types, got '!!timestamp'; take it out"),
        ("a: 2026-99-99", "expected a value that JSON has, got '2026-99-99', a date; put it in quotes"),
        ("!!int 5: a", "expected keys that are text, got '5'; quote it"),
        ("? [a]\n: b", "expected keys that are text, got an array; quote it"),
        ("a: <<", "a.yaml:1: expected '<<' as a key, got it as a value; quote it"),
        ("- <<", "a.yaml:1: expected '<<' as a key, got it as a value; quote it"),
        ("a: 1\n<<: 5", "a.yaml:2: expected a mapping, or a list of mappings, behind '<<', got 5; write its keys out"),
        ("<<: {}\n<<: {}", "a.yaml:2: expected each key once in an object, got '<<' twice; write a list behind one"),
        ("a: 1\nb: [", "a.yaml:2: expected a YAML document: "),
    ],
)
def test_whatever_a_file_holds_is_refused_in_bounded_time(text: str, sentence: str) -> None:
    began = time.process_time()
    with pytest.raises(Unreadable) as caught:
        read(text)
    assert time.process_time() - began < 5.0
    assert sentence in str(caught.value)


def test_aliases_and_merge_keys_are_written_out() -> None:
    assert read("a: &a {b: 1}\nc: *a\nd: {<<: *a, e: 2}").value == {
        "a": {"b": 1}, "c": {"b": 1}, "d": {"b": 1, "e": 2},
    }  # fmt: skip


def test_a_mappings_own_keys_win_over_merged_ones_and_the_first_of_several_over_the_others() -> None:
    text = "a: &a {x: 1, y: 1}\nb: &b {x: 2, z: 2}\nc: {<<: [*a, *b], y: 3}\nd: {y: 4, <<: {y: 5, v: 5}}"
    value = read(text).value
    assert (value["c"], value["d"]) == ({"x": 1, "y": 3, "z": 2}, {"y": 4, "v": 5})
    assert value["a"] == {"x": 1, "y": 1}


def test_words_of_yaml_are_its_own_types_and_text_where_json_has_none() -> None:
    text = "{a: yes, b: Off, c: <x, d: =, e: y, f: 0o7, g: 1_000}"
    assert read(text).value == {"a": True, "b": False, "c": "<x", "d": "=", "e": "y", "f": "0o7", "g": 1000}
    assert read_document(b"{a: yes, <<: no}", "a.yaml", JSON_TYPES).value == {"a": "yes", "<<": "no"}


def test_every_value_has_its_line_those_in_aliases_too() -> None:
    document = read("# above\na: &a\n  b: 1\n  c: [x,\n    y]\nd: *a\ne:\n  <<: *a\n  f: 2\n")
    assert document.line("a", "c", 1) == 5
    assert document.line("d") == 6
    assert document.line("d", "c", 1) == 5
    assert document.line("e", "c", 1) == 5
    assert document.line("e", "f") == 9
    assert document.line("a", "nothing", "of", 3) == 2
    assert document.lines.line_of("d.c[1]") == 5


def test_a_mistake_says_file_line_field_and_cure() -> None:
    mistake = read("a:\n  - b: 1\n").mistake(("a", 0, "b"), "two", "1", "write 2")
    assert str(mistake) == "a.yaml:2: a[0].b: expected two, got 1; write 2"
    assert (mistake.file, mistake.line, mistake.field) == ("a.yaml", 2, "a[0].b")
    assert (mistake.expected, mistake.got, mistake.cure) == ("two", "1", "write 2")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match=r"^a\.yaml: expected a file, got no such file or directory; check the path$"):
        read_file(tmp_path / "a.yaml", "a.yaml")
    (tmp_path / "a.yaml").write_bytes(b"a: \xff")
    with pytest.raises(Unreadable, match=r"^a\.yaml:1: expected text in UTF-8, got a byte 0xff; save it as UTF-8$"):
        read_file(tmp_path / "a.yaml", "a.yaml")
    (tmp_path / "a.yaml").write_bytes(b"")
    assert read_file(tmp_path / "a.yaml", "a.yaml").value is None
