from __future__ import annotations

import time
from pathlib import Path

import pytest
from gatewright_builder.document import read_document
from gatewright_builder.mistake import BuildError

BOMB = "\n".join(
    ["a0: &a0 [x,x,x,x,x,x,x,x,x,x]", *(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12))]
)
MERGES = "\n".join(
    ["a0: &a0 {a: x}", *(f"a{n}: &a{n} {{<<: [{','.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, 12))]
)


def read(folder: Path, text: str) -> object:
    (folder / "a.yaml").write_text(text)
    return read_document(folder / "a.yaml", "a.yaml").value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB, "expected a document of reasonable size, got more"),
        (MERGES, "expected a document of reasonable size, got more"),
        ("a: &a " + "x" * 3_000_000 + "\nb: [*a, *a, *a, *a]", "expected a document of reasonable size, got more"),
        ("x" * 5_000_000, "expected a definition of reasonable size, got more"),
        ("%TAG !a! b\n" * 100 + "--- a", "expected a definition of reasonable size, got more"),
        ("a: &a [*a]", "expected a finite document, got an alias to a value that holds it"),
        ("a: " + "[" * 100 + "]" * 100, "expected at most 64 levels, got more"),
        ("[" * 100_000, "expected YAML, got exceeded maximum nesting depth"),
        ("a: " + "9" * 5000, "expected a number of at most 100 characters, got more"),
        ("a: 1" + ":1" * 200_000, "expected a number of at most 100 characters, got more"),
        ("a: !!int ''", "expected a value of YAML's type int, got ;"),
        ("a: !!bool maybe", "expected a value of YAML's type bool, got maybe"),
        ("a: !!float x", "expected a value of YAML's type float, got x"),
        ("a: !!timestamp x", "expected a value of YAML's type timestamp, got x"),
        ("a: 2026-99-99", "expected a value of YAML's type timestamp, got 2026-99-99"),
        ("!!int 5: a", "expected a string as key, got 5"),
        ("? [a]\n: b", "expected a string as key, got "),
    ],
)
def test_whatever_a_definition_holds_is_refused_in_bounded_time(tmp_path: Path, text: str, said: str) -> None:
    began = time.process_time()
    with pytest.raises(BuildError) as caught:
        read(tmp_path, text)
    assert time.process_time() - began < 5.0
    assert said in str(caught.value)


def test_aliases_and_merge_keys_are_written_out(tmp_path: Path) -> None:
    assert read(tmp_path, "a: &a {b: 1}\nc: *a\nd: {<<: *a, e: 2}") == {
        "a": {"b": 1}, "c": {"b": 1}, "d": {"b": 1, "e": 2},
    }  # fmt: skip
