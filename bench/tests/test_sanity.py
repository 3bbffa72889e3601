from __future__ import annotations

from bench import sanity
from bench.settings import Settings
from bench.tests.samples import sample

SETTINGS = Settings(connections=(16,))


def test_plausible_ratios_pass() -> None:
    samples = [sample("plain", Envoy=30), sample("no-policies", Envoy=31), sample("go", Envoy=70, Go=50)]
    assert not list(sanity.absurd_ratios([*samples, sample("go-python-go", Envoy=70, Python=99)], SETTINGS))
    assert not list(sanity.wrong_answers(samples))


def test_a_row_out_of_bounds_is_named_with_them() -> None:
    samples = [sample("plain", Envoy=30), sample("go", Envoy=30, Go=570), sample("go-python-go", Envoy=600)]
    assert list(sanity.absurd_ratios(samples, SETTINGS)) == [
        "go at 16 connections: expected 1.2–15.0 × plain's CPU, got 20.00",
        "go-python-go at 16 connections: expected 1.05–8.0 × go's CPU, got 1.00",
    ]


def test_wrong_answers_and_none_are_named() -> None:
    assert list(sanity.wrong_answers([sample(failures=2), sample("go", round_=1, rate=0)])) == [
        "plain at 16 connections, round 1: 2 wrong answers, the first: expected status 200, got 418",
        "go at 16 connections, round 2: expected right answers, got none",
    ]
