"""What may be done with a Lease, under clocks that are moved."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from gatewright_controller.kubernetes.lease import DEADLINE_SECONDS, DURATION_SECONDS, LeaseView, Term
from gatewright_documents.values import JsonObject

WHEN = datetime(2026, 1, 1, tzinfo=UTC)
SHOWN = "2026-01-01T00:00:00.000000Z"


def lease(holder: str, version: str = "1", **spec: object) -> JsonObject:
    named = {"holderIdentity": holder, "leaseDurationSeconds": 15, "renewTime": SHOWN, **spec}
    return {"metadata": {"name": "l", "resourceVersion": version}, "spec": named}


def test_no_lease_is_free_at_once() -> None:
    view = LeaseView("a")
    view.see(None, 100.0)
    assert view.seconds_until_free(100.0) == 0
    assert view.renewed(WHEN) == {
        "holderIdentity": "a", "leaseDurationSeconds": DURATION_SECONDS, "acquireTime": SHOWN, "renewTime": SHOWN,
        "leaseTransitions": 0,
    }  # fmt: skip


def test_anothers_is_free_once_it_has_not_changed_for_its_duration_by_our_clock() -> None:
    """Whatever the times in it: they are of the other's clock."""
    view = LeaseView("b")
    view.see(lease("a", renewTime="1990-01-01T00:00:00.000000Z"), 100.0)
    assert view.seconds_until_free(110.0) == 5.0
    view.see(lease("a"), 114.0)  # the same version: seen again, not renewed
    assert view.seconds_until_free(115.0) == 0
    view.see(lease("a", "2"), 116.0)
    assert view.seconds_until_free(116.0) == 15.0


def test_a_lease_says_for_how_long_it_is_its_holders() -> None:
    view = LeaseView("b")
    view.see(lease("a", leaseDurationSeconds=60), 0.0)
    assert view.seconds_until_free(15.0) == 45.0


def test_one_that_was_given_back_is_free_at_once() -> None:
    before, after = LeaseView("a"), LeaseView("b")
    before.see(lease("a"), 0.0)
    after.see({"metadata": {"resourceVersion": "2"}, "spec": before.released(WHEN)}, 1.0)
    assert after.seconds_until_free(1.0) == 0


def test_a_change_of_holders_is_counted_and_a_renewal_is_not() -> None:
    view = LeaseView("b")
    view.see(lease("a", acquireTime=SHOWN, leaseTransitions=4), 0.0)
    taken = view.renewed(WHEN)
    assert (taken["holderIdentity"], taken["leaseTransitions"]) == ("b", 5)
    view.see({"metadata": {"resourceVersion": "2"}, "spec": taken}, 1.0)
    later = view.renewed(WHEN + timedelta(seconds=4))
    assert (later["leaseTransitions"], later["acquireTime"]) == (5, SHOWN)
    assert later["renewTime"] == "2026-01-01T00:00:04.000000Z"


def test_a_term_is_over_before_others_may_take_the_lease() -> None:
    """By as long as a request of the leader may be under way."""
    from gatewright_controller.kubernetes.client import REQUEST_SECONDS

    term = Term(100.0)
    assert term.is_valid(100.0 + DEADLINE_SECONDS - 0.1)
    assert not term.is_valid(100.0 + DEADLINE_SECONDS)
    term.renew(104.0)
    assert term.is_valid(100.0 + DEADLINE_SECONDS)
    assert DEADLINE_SECONDS + REQUEST_SECONDS <= DURATION_SECONDS
    term.is_over = True
    assert not term.is_valid(104.0)
