from __future__ import annotations

import pytest
from gatewright_builder.mistake import BuildError, Mistakes, refuse_if_any
from gatewright_documents.mistake import Mistake

ONE = Mistake.in_file("build.yaml", "this", "that", "write this", 3)


def test_an_error_is_a_sentence_a_mistake_in_their_order() -> None:
    error = BuildError([ONE, Mistake.in_file("a.yaml", "a file", "none", "write it")])
    assert str(error) == (
        "build.yaml:3: expected this, got that; write this\na.yaml: expected a file, got none; write it"
    )


def test_no_part_of_a_mistake_shows_a_password() -> None:
    secret = "https://user:hunter22@host/x"  # noqa: S105
    (mistake,) = BuildError([Mistake.in_file(secret, "an index", f"no answer of {secret}", "check it")]).mistakes
    assert "hunter22" not in f"{mistake} {mistake.file} {mistake.got} {mistake.message}"
    assert "https://****@host/x" in str(mistake)


def test_steps_are_all_tried_and_their_mistakes_kept() -> None:
    mistakes, tried = Mistakes(), []
    for step in range(3):
        with mistakes.gather():
            tried.append(step)
            if step < 2:
                raise BuildError([ONE])
    assert (tried, mistakes.found) == ([0, 1, 2], [ONE, ONE])


def test_other_errors_are_raised_and_not_gathered() -> None:
    mistakes = Mistakes()
    with pytest.raises(KeyError), mistakes.gather():
        raise KeyError
    assert mistakes.found == []


def test_no_mistake_refuses_nothing() -> None:
    refuse_if_any([])
    with pytest.raises(BuildError):
        refuse_if_any([ONE])
