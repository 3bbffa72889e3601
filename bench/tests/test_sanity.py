from __future__ import annotations

from bench import sanity
from bench.tests.samples import sample


def test_wrong_answers_and_a_lack_of_answers_are_reported() -> None:
    assert list(sanity.wrong_answers([sample(failures=2), sample("go", round_=1, rate=0)])) == [
        "plain at 16 connections, round 1: 2 wrong answers, the first: expected status 200, got 418",
        "go at 16 connections, round 2: expected right answers, got none",
    ]
