from __future__ import annotations

import pytest
from gatewright_controller.acme.schedule import (
    BACK_OFF,
    BACK_OFF_JITTER,
    JITTER,
    Record,
    Wanted,
    back_off,
    obtained,
    renewal,
)
from gatewright_controller.model import gateway_from_document

DAY = 86400.0
WEB = Wanted("web", ("a.example", "b.example"), "https://ca.example/dir")


def test_without_a_suggestion_it_is_two_thirds_of_the_lifetime_or_a_little_before() -> None:
    assert renewal(0, 90 * DAY, None, 0) == 60 * DAY
    assert renewal(0, 90 * DAY, None, 1) == pytest.approx((60 - 90 * JITTER) * DAY)


@pytest.mark.parametrize(
    ("suggestion", "expected"),
    [
        (70 * DAY, 70 * DAY),
        (10 * DAY, 10 * DAY),  # it is going to be revoked
        (-5 * DAY, 3600),  # at once, and not again and again
        (91 * DAY, 60 * DAY),  # after its end: it suggests nothing
    ],
)
def test_what_the_authority_suggests_counts(suggestion: float, expected: float) -> None:
    assert renewal(0, 90 * DAY, suggestion, 0) == expected


def test_a_short_certificate_is_not_renewed_at_once_whatever_is_suggested() -> None:
    assert renewal(100, 160, 0, 0) == 120


def test_what_was_never_obtained_is_due() -> None:
    assert Record().due(WEB) == 0


def test_what_was_obtained_is_due_when_it_is_renewed() -> None:
    assert obtained(WEB, 0, 90 * DAY, None, 0, 0).due(WEB) == 60 * DAY


@pytest.mark.parametrize(
    "other",
    [
        Wanted("web", ("a.example",), WEB.directory),
        Wanted("web", WEB.hosts, "https://other.example/dir"),
        Wanted("web", WEB.hosts, WEB.directory, key_type="rsa-2048"),
    ],
)
def test_what_is_another_one_is_due(other: Wanted) -> None:
    assert obtained(WEB, 0, 90 * DAY, None, 0, 0).due(other) == 0


def test_the_order_of_hosts_and_an_email_address_make_no_other_certificate() -> None:
    same = Wanted("web", WEB.hosts[::-1], WEB.directory, email="x@example.org")
    assert obtained(WEB, 0, 90 * DAY, None, 0, 0).due(same) == 60 * DAY


def test_failures_are_waited_for_longer_and_longer_and_a_success_ends_that() -> None:
    record, waits = Record(), []
    for _ in range(12):
        record = record.failed(WEB, 1000, "refused", "no", 0, 0)
        waits.append(record.due(WEB) - 1000)
    first, longest = BACK_OFF["refused"]
    assert waits[:3] == [first, 2 * first, 4 * first]
    assert waits[-1] == longest
    assert (record.failures, record.error) == (12, "no")
    assert obtained(WEB, 0, 90 * DAY, None, 0, 0).failures == 0


def test_no_more_failures_in_an_hour_than_authorities_take() -> None:
    at, within = 0.0, 0
    while at <= 3600:
        within += 1
        at += back_off(within, "refused", 0)
    assert within <= 5


def test_what_the_authority_asks_to_wait_is_waited() -> None:
    assert Record().failed(WEB, 0, "refused", "too many", 7 * DAY, 0).due(WEB) == 7 * DAY


def test_a_certificate_that_cannot_be_renewed_yet_is_tried_again_later_and_not_at_once() -> None:
    record = obtained(WEB, 0, 90 * DAY, None, 0, 0).failed(WEB, 61 * DAY, "unreachable", "away", 0, 0)
    assert record.due(WEB) == 61 * DAY + BACK_OFF["unreachable"][0]
    assert record.subject == WEB.subject


def test_a_change_of_what_is_wanted_is_tried_at_once_and_counted_anew() -> None:
    record, other = Record().failed(WEB, 1000, "refused", "no", 0, 0), Wanted("web", ("c.example",), WEB.directory)
    assert record.due(other) == 0
    assert record.failed(other, 1000, "refused", "no", 0, 0).failures == 1


def test_nodes_that_fail_together_do_not_ask_together() -> None:
    assert back_off(1, "refused", 1) == BACK_OFF["refused"][0] * (1 + BACK_OFF_JITTER)


def test_of_a_gateway() -> None:
    asked = {"hosts": ["a.example"], "termsOfServiceAgreed": True}
    spec = {"certificates": {"web": {"acme": asked}, "file": {"certificateFile": "/a", "keyFile": "/b"}}}
    document = {"apiVersion": "gatewright.dev/v1", "kind": "Gateway", "spec": spec}
    certificates = gateway_from_document(document).spec.certificates
    letsencrypt = "https://acme-v02.api.letsencrypt.org/directory"
    assert Wanted.of("web", certificates["web"]) == Wanted("web", ("a.example",), letsencrypt)
    assert Wanted.of("file", certificates["file"]) is None
