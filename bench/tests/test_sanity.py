from __future__ import annotations

from bench import sanity
from bench.settings import Settings
from bench.tests.samples import sample

SETTINGS = Settings(connections=(16,))


def test_plausible_ratios_pass() -> None:
    samples = [sample("plain", rate=9000), sample("no-policies", rate=8500), sample("go", rate=3000)]
    assert not list(sanity.absurd_ratios([*samples, sample("go-python-go", rate=1700)], SETTINGS))
    assert not list(sanity.wrong_answers(samples))


def test_a_row_out_of_bounds_is_named_with_them() -> None:
    samples = [sample("plain", rate=1000), sample("go", rate=50), sample("go-python-go", rate=70)]
    assert list(sanity.absurd_ratios(samples, SETTINGS)) == [
        "go at 16 connections: expected 0.08–1.2 × plain's req/s, got 0.05",
        "go-python-go at 16 connections: expected 0.15–1.2 × go's req/s, got 1.40",
    ]


def test_wrong_answers_and_none_are_named() -> None:
    assert list(sanity.wrong_answers([sample(failures=2), sample("go", round_=1, rate=0)])) == [
        "plain at 16 connections, round 1: 2 wrong answers, the first: expected status 200, got 418",
        "go at 16 connections, round 2: expected right answers, got none",
    ]
