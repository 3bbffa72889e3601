from __future__ import annotations

from datetime import UTC, datetime, timedelta

from gatewright_controller.nodes import refusals
from gatewright_controller.nodes.refusals import Refusals


def test_a_node_that_tries_no_more_is_forgotten() -> None:
    now = datetime(2026, 12, 1, tzinfo=UTC)
    known = Refusals(lambda: now)
    assert known.note("n1", "ipv4:10.0.0.7:1", "no token")
    assert known.note("n2", "ipv4:10.0.0.8:1", "no token")
    now += timedelta(seconds=40)
    assert not known.note("n1", "ipv4:10.0.0.7:2", "no token")
    assert known.note("n1", "ipv4:10.0.0.7:3", "no labels")
    now += timedelta(seconds=40)
    assert [(refusal.node, refusal.peer) for refusal in known.current()] == [("n1", "ipv4:10.0.0.7:3")]
    assert known.note("n2", "ipv4:10.0.0.8:2", "no token"), "news again"
    known.forget("n2")
    assert [refusal.node for refusal in known.current()] == ["n1"]


def test_strangers_fill_no_memory() -> None:
    known = Refusals()
    for number in range(refusals.MOST_REMEMBERED + 5):
        known.note(f"n{number}", "peer", "no token")
    assert len(known.current()) == 5
