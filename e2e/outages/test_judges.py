"""The judges of outages: they must be able to say no."""

from __future__ import annotations

import dataclasses

import pytest

from e2e.kit.writes import Entry, Write, find_mistakes
from e2e.outages.timeline import Timeline
from e2e.outages.traffic import STAMP, Request, Target
from e2e.outages.updates import PYTHON_STAMP, wrong_chain

HISTORY = {"orders": [Entry(1, "first"), Entry(4, "w1"), Entry(6, "w2")]}
FIRST = Write(0.0, 0.1, "a", "orders", "w1", seen=1, outcome="acknowledged", revision=4)
SECOND = Write(0.2, 0.3, "b", "orders", "w2", seen=4, outcome="acknowledged", revision=6)


@pytest.mark.parametrize(
    ("write", "mistake"),
    [
        (SECOND, None),
        (dataclasses.replace(SECOND, seen=0), None),
        (dataclasses.replace(SECOND, outcome="unknown", revision=0), None),
        (dataclasses.replace(SECOND, stamp="w3", outcome="unknown", revision=0), None),
        (dataclasses.replace(SECOND, stamp="w3", outcome="refused", revision=0), None),
        (dataclasses.replace(SECOND, stamp="w3"), "b acknowledged w3 as orders@6, and the history has w2 there"),
        (dataclasses.replace(SECOND, revision=7), "b acknowledged w2 as orders@7, and the history has nothing there"),
        (dataclasses.replace(SECOND, outcome="failed", answer="503"), "b answered w2 with 503: the history has it"),
        (dataclasses.replace(SECOND, outcome="refused", answer="412"), "b answered w2 with 412: the history has it"),
        (dataclasses.replace(SECOND, seen=1), "w2 was made of orders@1, and follows orders@4: an update is lost"),
    ],
)
def test_writes_are_held_against_the_history(write: Write, mistake: str | None) -> None:
    mistakes = find_mistakes([FIRST, write], HISTORY)
    assert len(mistakes) == (mistake is not None)
    assert "".join(mistakes).startswith(mistake or "")


def answer(go: str, python: str, floor: int = 3, ceiling: int = 5) -> Request:
    headers = ((STAMP, go), (PYTHON_STAMP, f"{python}()"))
    return Request(Target("one", 80, "/orders/v1.0/x"), 100.0, 100.2, 200, headers, floor=floor, ceiling=ceiling)


@pytest.mark.parametrize("number", [3, 4, 5])
def test_an_answer_of_a_chain_that_may_answer_is_right(number: int) -> None:
    assert wrong_chain(answer(str(number), str(number))) == ""


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (answer("2", "2"), "expected a stamp from 3 to 5, got 2"),
        (answer("6", "6"), "expected a stamp from 3 to 5, got 6"),
        (answer("4", "3"), "one chain has answered with the stamps '4' of Go and '3' of Python"),
        (answer("", ""), "expected a stamp, got ''"),
    ],
)
def test_an_answer_of_a_wrong_chain_is_found(request_: Request, why: str) -> None:
    assert wrong_chain(request_) == why


def test_a_failing_request_is_shown_with_what_was_done_then() -> None:
    timeline = Timeline()
    at = timeline.note("PostgreSQL is restarted")
    failed = Request(Target("one", 80, "/orders/x"), at + 0.5, at + 0.75, 503, (("retry-after", "1"),), body="no")
    assert timeline.describe(failed).endswith(
        "one /orders/x: 503 {'retry-after': '1'} no after 0.250 s; then: PostgreSQL is restarted (-0.50 s)"
    )
