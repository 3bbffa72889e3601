from __future__ import annotations

import copy
from collections.abc import Callable, Mapping

import pytest
from gatewright_controller.model import Api, from_document
from gatewright_controller.plans.effects import Effects
from gatewright_controller.plans.holders import Holders
from gatewright_controller.plans.plan import Intent, WantedApi
from gatewright_controller.plans.planner import plan_apis
from gatewright_controller.resource.definitions import Definitions
from gatewright_controller.resource.versions import newest_versions
from gatewright_controller.store import StoredApi
from gatewright_controller.translate import EdgeSettings
from gatewright_documents.values import JsonObject

Describe = Callable[..., list[str]]


@pytest.fixture
def describe(definitions: Definitions) -> Describe:
    """The effects of a set, all owned by team-a: documents that are stored, and those that are applied."""

    def describe_set(
        stored: list[JsonObject], wanted: list[JsonObject], *, suspended: tuple[str, ...] = ()
    ) -> list[str]:
        before, after = (_apis(documents) for documents in (stored, wanted))
        present = [StoredApi(api, 1, "", "", newest_versions(api, definitions), "team-a") for api in before.values()]
        coming = [WantedApi(api, newest_versions(api, definitions)) for api in after.values()]
        plan = plan_apis(present, coming, Intent("team-a", prune=True))
        effects = Effects(definitions, EdgeSettings(), Holders(before), Holders(after), suspended)
        return [sentence for step in plan.steps for sentence in effects.of(step)]

    return describe_set


def _apis(documents: list[JsonObject]) -> Mapping[str, Api]:
    return {document["metadata"]["name"]: from_document(document) for document in documents}


def changed(document: JsonObject, name: str = "", **spec: object) -> JsonObject:
    """A copy with these fields of spec, and another name if one is given."""
    copied = copy.deepcopy(document)
    copied["spec"] |= spec
    if name:
        copied["metadata"]["name"] = name
    return copied


def test_an_api_that_comes_says_where_its_requests_go(describe: Describe, orders: JsonObject) -> None:
    assert describe([], [orders]) == [
        "requests below /orders/v1.0 on * are served by orders-v1, got 404",
        "POST /orders/v1.0/, GET /orders/v1.0/{id} on * goes to http://orders.internal:8080/api",
        "policy log-message v1.0.0 runs on every operation",
        "policy rewrite-body v1.0.0 runs on POST /orders/v1.0/ on *",
    ]


def test_an_api_that_goes_says_what_answers_in_its_place(describe: Describe, orders: JsonObject) -> None:
    assert describe([orders], []) == ["requests below /orders/v1.0 on * get 404"]
    rest = changed(orders, "rest", context="/orders")
    assert describe([orders, rest], [rest]) == ["requests below /orders/v1.0 on * are served by rest"]


def test_a_target_that_changes_is_said_with_the_one_before(describe: Describe, orders: JsonObject) -> None:
    after = changed(orders, upstream={"main": {"url": "http://new.internal:8080"}})
    assert describe([orders], [after]) == [
        "POST /orders/v1.0/, GET /orders/v1.0/{id} on * goes to http://new.internal:8080, "
        "was: goes to http://orders.internal:8080/api",
        "every operation: new settings of its upstream",
    ]


def test_policies_are_said_with_their_exact_versions(describe: Describe, orders: JsonObject) -> None:
    def with_headers(version: str) -> JsonObject:
        params = {"headers": [{"name": "x-a", "value": "1"}]}
        return changed(orders, policies=[{"name": "add-headers", "version": version, "params": params}])

    sentences = describe([with_headers("v1.2.0")], [with_headers("v1")])
    assert sentences == ["policy add-headers v1.2.0 → v1.10.0 on every operation"]
    sentences = describe([orders], [changed(orders, policies=[])])
    assert "policy log-message v1.0.0 no longer runs on every operation" in sentences


def test_nodes_are_said_with_those_before(describe: Describe, orders: JsonObject) -> None:
    eu, us = (changed(orders, nodes={"zone": zone}) for zone in ("eu", "us"))
    assert "orders-v1 runs on nodes with zone=eu" in describe([], [eu])
    assert describe([orders], [eu]) == ["orders-v1 runs on nodes with zone=eu, was on every node"]
    assert describe([eu], [us]) == ["orders-v1 runs on nodes with zone=us, was on nodes with zone=eu"]
    assert describe([us], [orders]) == ["orders-v1 runs on every node, was on nodes with zone=us"]


def test_parameters_are_not_shown(describe: Describe, orders: JsonObject) -> None:
    def with_value(value: str) -> JsonObject:
        params = {"headers": [{"name": "x-a", "value": value}]}
        return changed(orders, policies=[{"name": "add-headers", "version": "v1", "params": params}])

    sentences = describe([with_value("first-s3cret")], [with_value("second-s3cret")])
    assert sentences == ["policy add-headers v1.10.0 has other parameters or settings on every operation"]


def test_an_operation_that_goes_says_what_its_requests_meet(describe: Describe, orders: JsonObject) -> None:
    get, post = orders["spec"]["operations"]
    assert describe([orders], [changed(orders, operations=[get])]) == ["POST /orders/v1.0/ on * gets 404"]
    both = changed(orders, operations=[get, {"method": "PUT", "path": "/{id}"}])
    assert describe([both], [changed(orders, operations=[get])]) == ["PUT /orders/v1.0/{id} on * gets 405"]
    wide = {"method": "*", "path": "/*"}
    assert "GET /orders/v1.0/{id} on * is met by * /*" in describe([orders], [changed(orders, operations=[post, wide])])


def test_a_move_says_what_is_at_both_places(describe: Describe, orders: JsonObject) -> None:
    assert describe([orders], [changed(orders, hosts=["shop.example"])]) == [
        "requests below /orders/v1.0 on shop.example are served by orders-v1, were by orders-v1",
        "requests below /orders/v1.0 on * get 404",
    ]


def test_a_rename_says_that_nothing_is_missing_and_what_is_not_carried_over(
    describe: Describe, orders: JsonObject
) -> None:
    assert describe([orders], [changed(orders, "purchases")]) == [
        "purchases serves what orders-v1 did, without a gap",
        "what policies keep for orders-v1, such as counters and cached responses, is not carried over",
    ]


def test_a_swap_names_who_had_the_context(describe: Describe, orders: JsonObject) -> None:
    other = changed(orders, "other", context="/other")
    swapped = [changed(orders, context="/other"), changed(other, context="/orders/$version")]
    assert describe([orders, other], swapped) == [
        "requests below /other on * are served by orders-v1, were by other",
        "requests below /orders/v1.0 on * are served by other",
        "requests below /orders/v1.0 on * are served by other, were by orders-v1",
        "requests below /other on * are served by orders-v1",
    ]


def test_what_requests_do_not_notice_is_said_to_be_nothing(describe: Describe, orders: JsonObject) -> None:
    assert describe([orders], [changed(orders, displayName="Orders")]) == ["nothing changes for requests"]
    labelled = copy.deepcopy(orders)
    labelled["metadata"]["labels"] = {"team": "payments"}
    assert describe([orders], [labelled]) == ["nothing changes for requests"]


def test_an_api_that_the_build_did_not_fit_is_served_again(describe: Describe, orders: JsonObject) -> None:
    sentences = describe([orders], [changed(orders, displayName="Orders")], suspended=("orders-v1",))
    assert sentences[0] == "orders-v1 is served again, since the build's policies fit it"


def test_many_operations_are_counted(describe: Describe, orders: JsonObject) -> None:
    many = changed(orders, operations=[{"method": "GET", "path": f"/{number}"} for number in range(50)])
    assert (
        "GET /orders/v1.0/0, GET /orders/v1.0/1, GET /orders/v1.0/10, 47 more on * goes to" in describe([], [many])[1]
    )


def test_timeouts_and_the_rest_of_a_route(describe: Describe, orders: JsonObject) -> None:
    sentences = describe([orders], [changed(orders, requestTimeout="5s", retries=True)])
    assert "every operation: the time that an upstream has to begin its answer is 5000 ms, was 60000 ms" in sentences
    assert "GET /orders/v1.0/{id} on *: new retries" in sentences
