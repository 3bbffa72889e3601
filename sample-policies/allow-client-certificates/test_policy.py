from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sdk.policy import ImmediateResponse, Peer

from sdk import testing

policy = testing.load_policy(__file__)
FINGERPRINT = "00ff" * 16
PARAMS = testing.params(
    dnsNames=["orders.example", "*.pods.example"],
    uris=["spiffe://example.org/billing", "spiffe://example.org/orders/*"],
    emailAddresses=["alice@example.org"],
    fingerprints=[":".join([FINGERPRINT.upper()[at : at + 2] for at in range(0, 64, 2)])],
)


def answered(peer: Peer | None, params: dict[str, Any] = PARAMS) -> object:
    with testing.prepared(policy, params) as made:
        return policy.on_request(testing.request(peer=peer, prepared=made), params)


@pytest.mark.parametrize(
    "peer",
    [
        Peer(dns_names=("orders.example",)),
        Peer(dns_names=("other.example", "Orders.Example")),
        Peer(dns_names=("a.pods.example",)),
        Peer(dns_names=("*.pods.example",)),
        Peer(uris=("spiffe://example.org/billing",)),
        Peer(uris=("urn:x", "spiffe://example.org/orders/blue")),
        Peer(uris=("spiffe://example.org/orders/blue/1",)),
        Peer(email_addresses=("alice@EXAMPLE.org",)),
        Peer(fingerprint=FINGERPRINT),
    ],
    ids=str,
)
def test_who_is_named_passes(peer: Peer) -> None:
    assert answered(peer) is None


@pytest.mark.parametrize(
    "peer",
    [
        None,
        Peer(),
        Peer(subject="CN=orders.example", issuer="CN=orders.example"),
        Peer(dns_names=("orders.example.evil", "evilorders.example", "orders.example,x", "")),
        Peer(dns_names=("pods.example", "a.b.pods.example", "*.b.pods.example", ".pods.example")),
        Peer(dns_names=("spiffe://example.org/billing", "alice@example.org", FINGERPRINT)),
        Peer(uris=("spiffe://example.org/billing/more", "spiffe://example.org/Billing", "orders.example")),
        Peer(uris=("spiffe://example.org/orders", "spiffe://example.org/orders/", "spiffe://example.org/ordersX/a")),
        Peer(uris=("spiffe://example.org/orders/../billing2", "spiffe://example.org/orders/./a")),
        Peer(email_addresses=("Alice@example.org", "alice@example.org.evil", "orders.example")),
        Peer(fingerprint=FINGERPRINT[:-1] + "0"),
    ],
    ids=str,
)
def test_nobody_else_passes(peer: Peer | None) -> None:
    answer = answered(peer)
    assert isinstance(answer, ImmediateResponse)
    assert answer.status_code == 403


def test_kinds_that_are_not_listed_allow_nobody() -> None:
    params = testing.params(uris=["urn:a"])
    assert answered(Peer(uris=("urn:a",)), params) is None
    assert answered(Peer(dns_names=("",), email_addresses=("",), uris=("",)), params) is not None


@given(st.builds(Peer, *[st.text()] * 2, *[st.lists(st.text(), max_size=3).map(tuple)] * 4))
def test_names_of_any_characters_are_no_error(peer: Peer) -> None:
    assert answered(peer) is not None
