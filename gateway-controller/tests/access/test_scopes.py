"""Which APIs a grant is for."""

from __future__ import annotations

import pytest
from gatewright_controller.access import EVERY_API, RIGHTS, Caller, Grant, NotPermittedError, Scope
from gatewright_controller.model import Api, from_document
from gatewright_documents.values import JsonObject


@pytest.fixture
def api(orders: JsonObject) -> Api:
    """`orders-v1` at /orders/v1.0 on two hosts, with a label."""
    orders["metadata"]["labels"] = {"team": "shop", "tier": "gold"}
    orders["spec"]["hosts"] = ["shop.example", "api.shop.example"]
    return from_document(orders)


@pytest.mark.parametrize(
    "scope",
    [
        EVERY_API,
        Scope(names=["orders-*"]),
        Scope(names=["payments", "orders-v1"]),
        Scope(labels={"team": "shop"}),
        Scope(labels={"team": "shop", "tier": "gold"}),
        Scope(hosts=["shop.example", "*.shop.example"]),
        Scope(hosts=["*.example"]),
        Scope(contexts=["/orders"]),
        Scope(contexts=["/orders/v1.0"]),
        Scope(contexts=["/payments", "/"]),
        Scope(names=["o*"], labels={"tier": "gold"}, hosts=["*.example"], contexts=["/orders/"]),
    ],
    ids=str,
)
def test_an_api_is_in_it_that_fits_all_members(scope: Scope, api: Api) -> None:
    assert scope.covers(api)


@pytest.mark.parametrize(
    "scope",
    [
        Scope(names=["order"]),
        Scope(names=["Orders-*"]),
        Scope(labels={"team": "payments"}),
        Scope(labels={"team": "shop", "region": "eu"}),
        Scope(hosts=["shop.example"]),  # the API is on another one too
        Scope(hosts=["*.shop.example"]),
        Scope(contexts=["/order"]),
        Scope(contexts=["/orders/v1"]),
        Scope(contexts=["/orders/v1.0/x"]),
        Scope(names=["orders-*"], labels={"team": "payments"}),
    ],
    ids=str,
)
def test_others_are_not(scope: Scope, api: Api) -> None:
    assert not scope.covers(api)


def test_a_scope_says_which_apis_it_is_for() -> None:
    """Of a list one is enough; of labels all are needed."""
    scope = Scope(["a", "b-*"], {"team": "shop", "tier": "gold"}, ["*.example"], ["/pay", "/buy"])
    assert str(scope) == (
        "a name like a or b-* and hosts of *.example and a context of /pay or /buy"
        " and the label team=shop and the label tier=gold"
    )


def test_an_api_without_hosts_is_on_those_of_others_too(orders: JsonObject) -> None:
    assert not Scope(hosts=["shop.example"]).covers(from_document(orders))
    assert Scope(names=["orders-v1"]).covers(from_document(orders))


def test_a_bound_grant_gives_only_rights_that_concern_one_api() -> None:
    bound = Grant("publisher", Scope(names=["orders-*"]))
    assert RIGHTS["publisher"] - bound.rights == {"defaults:read", "namespaces:read", "nodes:inspect"}
    assert Grant("publisher").rights == RIGHTS["publisher"]
    assert RIGHTS["viewer"] < RIGHTS["publisher"] < RIGHTS["admin"]


def test_a_caller_has_all_of_their_grants(api: Api) -> None:
    """To read all, and to write some: neither takes the other's bounds away."""
    caller = Caller("token:ann", (Grant("viewer"), Grant("publisher", Scope(names=["pay-*"]))))
    reading, writing = caller.permit("apis:read"), caller.permit("apis:write")
    assert reading
    assert writing
    reading.refuse_others(api)
    with pytest.raises(NotPermittedError, match="APIs with a name like pay-\\*, which token:ann is for, got orders-v1"):
        writing.refuse_others(api)
    with pytest.raises(NotPermittedError, match="gateway:write"):
        writing.refuse_gateway()
    assert caller.permit("tokens:write") is None
