from __future__ import annotations

import pytest
from gatewright_documents.mistake import Invalid, Mistake, Unreadable, format_path, listed, shown
from hypothesis import given
from hypothesis import strategies as st

WORDS = st.text("abc ", min_size=1, max_size=5)


@pytest.mark.parametrize(
    ("mistake", "sentence"),
    [
        (Mistake("spec.a", "is wrong"), "spec.a: is wrong"),
        (Mistake("", "is wrong", 3), "is wrong"),
        (Mistake("", "is wrong", 3, "a.yaml"), "a.yaml:3: is wrong"),
        (Mistake("spec.a", "is wrong", 0, "a.yaml"), "a.yaml: spec.a: is wrong"),
        (Mistake.expecting("this", "that", "write this"), "expected this, got that; write this"),
        (Mistake.expecting("this", "that", field="a"), "a: expected this, got that"),
        (Mistake.expecting("this", cure="write this"), "expected this; write this"),
        (Mistake.in_file("a.yaml", "this", "that", "write this", 7), "a.yaml:7: expected this, got that; write this"),
        (Mistake.in_file("a.yaml", "this", "that", "write this"), "a.yaml: expected this, got that; write this"),
    ],
)
def test_a_mistake_is_a_sentence(mistake: Mistake, sentence: str) -> None:
    assert str(mistake) == sentence


@given(WORDS, WORDS, WORDS)
def test_its_parts_are_kept_apart(expected: str, got: str, cure: str) -> None:
    mistake = Mistake.expecting(expected, got, cure, field="a", line=1, file="f")
    assert (mistake.expected, mistake.got, mistake.cure) == (expected, got, cure)
    assert str(mistake) == f"f:1: a: {mistake.message}"


def test_all_mistakes_stand_once_in_order_and_get_their_lines() -> None:
    first, second = Mistake("b", "is wrong"), Mistake("a", "is wrong", 9)
    error = Unreadable([first, second, first])
    assert error.mistakes == [second, first]
    located = error.located(lambda field: {"b": 4}[field])
    assert isinstance(located, Unreadable)
    assert [(mistake.field, mistake.line) for mistake in located.mistakes] == [("a", 9), ("b", 4)]
    assert isinstance(error, Invalid)


@pytest.mark.parametrize(
    ("path", "root", "text"),
    [
        ((), "spec", "spec"),
        (("a", 0, "b-c"), "", "a[0].b-c"),
        (("a.b", "c"), "spec", 'spec["a.b"].c'),
        ((0,), "", "[0]"),
        (("0",), "a", 'a["0"]'),
    ],
)
def test_a_path_is_written_as_people_do(path: tuple[str | int, ...], root: str, text: str) -> None:
    assert format_path(path, root) == text


def test_a_value_is_shown_on_one_line() -> None:
    values: list[object] = [None, True, 1.5, "a\nb", {}, []]
    assert [shown(value) for value in values] == [
        "null", "true", "1.5", "'a\\nb'", "an object", "an array",
    ]  # fmt: skip
    assert len(shown("x" * 1000)) == 80
    assert [listed(names) for names in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["none", "a", "a or b", "a, b or c"]
