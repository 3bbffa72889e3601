from __future__ import annotations

import json
from typing import Any

import pytest
from gatewright import testing
from gatewright.policy import Identity

ANN = Identity("ann", "https://id.example", ("read", "write"), {"email": "ann@example.org"}, "jwt")


def test_one_policy_sets_it_and_the_next_reads_it() -> None:
    ctx = testing.request()
    assert ctx.identity is None
    ctx.identity = ANN
    assert ctx.identity == ANN
    after = testing.request(metadata=json.loads(json.dumps(ctx.metadata.to_dict())))
    assert after.identity == ANN
    assert testing.response(request=after).request.identity == ANN
    after.identity = None
    assert (after.identity, "identity" in after.metadata) == (None, False)


def test_what_is_empty_is_not_there() -> None:
    ctx = testing.request()
    ctx.identity = Identity("ann")
    assert ctx.metadata.to_dict() == {"identity": {"subject": "ann"}}
    assert ctx.identity == Identity("ann")


def test_a_consumer_has_its_plan_and_labels() -> None:
    ctx = testing.request(
        metadata={"identity": {"subject": "a", "consumer": "a", "plan": "p", "labels": {"team": "x"}}}
    )
    assert ctx.identity == Identity("a", consumer="a", plan="p", labels={"team": "x"})
    with pytest.raises(TypeError):
        ctx.identity.labels["team"] = "y"  # type: ignore[index]


def test_scopes() -> None:
    assert ANN.has_scopes("read")
    assert ANN.has_scopes()
    assert not ANN.has_scopes("read", "admin")


def test_claims_are_json_and_read_only() -> None:
    ctx = testing.request()
    with pytest.raises(TypeError, match="expected a JSON value"):
        ctx.identity = Identity("ann", claims={"x": object()})
    ctx.identity = ANN
    with pytest.raises(TypeError):
        ctx.identity.claims["email"] = "bob@example.org"  # type: ignore[index]


@pytest.mark.parametrize(
    "value",
    [
        None,
        "ann",
        {"issuer": "x"},
        {"subject": 7},
        {"subject": "ann", "scopes": "read"},
        {"subject": "a", "claims": []},
        {"subject": "a", "labels": []},
    ],
)
def test_anything_else_is_no_identity(value: object) -> None:
    assert testing.request(metadata={"identity": value}).identity is None


def test_a_value_that_is_no_identity_is_refused_with_the_cure() -> None:
    ctx: Any = testing.request()
    with pytest.raises(TypeError, match=r"expected an Identity, got str 'ada': write Identity\(subject=…\)"):
        ctx.identity = "ada"
