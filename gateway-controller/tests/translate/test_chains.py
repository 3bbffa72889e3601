"""Ids: the same content has the same id, an edit changes the ids of what it edits, and no others."""

from __future__ import annotations

import copy
import functools

import pytest
from gatewright_controller._gen import node_pb2
from gatewright_controller.model import from_document
from gatewright_controller.resource.definitions import Definitions, UnknownPolicyError
from gatewright_controller.translate import EdgeSettings, translate
from gatewright_controller.translate.chains import goes_on_when_crashed
from gatewright_controller.validation import validate
from gatewright_documents.values import JsonObject


def bundle(document: JsonObject, definitions: Definitions) -> node_pb2.ApiBundle:
    return translate(validate(document, definitions, {}), definitions, EdgeSettings()).message


def instances(bundle: node_pb2.ApiBundle, operation: str) -> list[str]:
    (chain,) = (chain for chain in bundle.chains if chain.operation == operation)
    return [attachment.instance for attachment in chain.attachments]


def chain_ids(bundle: node_pb2.ApiBundle) -> dict[str, str]:
    return {chain.operation: chain.id for chain in bundle.chains}


def test_the_same_api_is_the_same_bytes(orders: JsonObject, definitions: Definitions) -> None:
    before = bundle(orders, definitions).SerializeToString(deterministic=True)
    assert bundle(copy.deepcopy(orders), definitions).SerializeToString(deterministic=True) == before


def test_the_order_of_keys_and_operations_changes_nothing(orders: JsonObject, definitions: Definitions) -> None:
    turned = {**orders, "spec": dict(reversed(orders["spec"].items()))}
    turned["spec"]["operations"] = list(reversed(orders["spec"]["operations"]))
    assert bundle(turned, definitions).digest == bundle(orders, definitions).digest


def test_a_default_that_is_written_out_changes_nothing(orders: JsonObject, definitions: Definitions) -> None:
    before = bundle(orders, definitions)
    orders["spec"]["policies"][0] |= {
        "params": {"message": "request", "level": "info"},
        "timeout": "1000ms",
        "onError": {},
    }
    assert bundle(orders, definitions).digest == before.digest


def test_an_api_level_instance_is_shared_by_all_operations(orders: JsonObject, definitions: Definitions) -> None:
    made = bundle(orders, definitions)
    assert chain_ids(made).keys() == {"GET /{id}", "OPTIONS /", "OPTIONS /{id}", "POST /"}
    assert len({chain.attachments[0].instance for chain in made.chains}) == 1
    assert len({chain.id for chain in made.chains}) == len(made.chains)


def test_an_edit_elsewhere_leaves_an_instance_alone(orders: JsonObject, definitions: Definitions) -> None:
    before = bundle(orders, definitions)
    orders["spec"]["policies"].insert(0, {"name": "count", "version": "v1"})
    orders["spec"]["operations"].insert(0, {"method": "GET", "path": "/new"})
    orders["spec"]["upstream"]["main"]["url"] = "http://elsewhere"
    after = bundle(orders, definitions)
    assert set(instances(before, "POST /")) < set(instances(after, "POST /"))
    assert chain_ids(before)["POST /"] != chain_ids(after)["POST /"]


def test_another_context_is_another_chain_with_the_same_instances(orders: JsonObject, definitions: Definitions) -> None:
    """The engine checks that the paths of policies stay below the context of their chain."""
    before = bundle(orders, definitions)
    orders["spec"]["context"] = "/elsewhere"
    after = bundle(orders, definitions)
    assert instances(before, "POST /") == instances(after, "POST /")
    assert chain_ids(before)["POST /"] != chain_ids(after)["POST /"]


@pytest.mark.parametrize(
    "edit",
    [
        {"params": {"level": "debug"}},
        {"timeout": "2s"},
        {"onError": "continue"},
        {"onError": {"timeout": "continue"}},
        {"maxConcurrency": 3},
        {"maxBodyBytes": 3},
    ],
    ids=lambda edit: next(iter(edit)),
)
def test_an_edit_makes_a_new_instance_and_a_new_chain(
    orders: JsonObject, definitions: Definitions, edit: JsonObject
) -> None:
    before = bundle(orders, definitions)
    orders["spec"]["policies"][0] |= edit
    after = bundle(orders, definitions)
    assert not set(instances(before, "GET /{id}")) & set(instances(after, "GET /{id}"))
    assert not set(chain_ids(before).values()) & set(chain_ids(after).values())


STREAM = {"name": "mask-stream", "version": "v1"}


def test_an_idle_timeout_of_a_stream_makes_a_new_instance(orders: JsonObject, definitions: Definitions) -> None:
    made = []
    for timeout in ({}, {"streamIdleTimeout": "15s"}, {"streamIdleTimeout": "15000ms"}, {"streamIdleTimeout": "16s"}):
        orders["spec"]["policies"] = [{**STREAM, **timeout}]
        made.append(bundle(orders, definitions).chains[0].attachments[0])
    assert [attachment.stream_idle_timeout_ms for attachment in made] == [0, 15_000, 15_000, 16_000]
    assert len({attachment.instance for attachment in made}) == 3


def test_a_chain_with_a_stream_does_not_continue_after_a_crash(orders: JsonObject, definitions: Definitions) -> None:
    """Whatever onError its attachments have: the part of the body that the stream has taken is lost."""
    orders["spec"]["policies"] = [{"name": "log-message", "version": "v1", "onError": "continue"}]
    orders["spec"]["operations"] = [{"method": "GET", "path": "/"}]
    assert goes_on_when_crashed(bundle(orders, definitions).chains[0])
    orders["spec"]["policies"].append({**STREAM, "onError": "continue"})
    assert not goes_on_when_crashed(bundle(orders, definitions).chains[0])


def test_a_shadow_is_marked_so_that_an_engine_which_does_not_know_it_refuses_it(
    orders: JsonObject, definitions: Definitions
) -> None:
    orders["spec"]["policies"] = [{"name": "count", "version": "v1"}]
    orders["spec"]["operations"] = [{"method": "GET", "path": "/"}]
    (applied,) = bundle(orders, definitions).chains[0].attachments
    orders["spec"]["policies"][0]["mode"] = "enforce"
    assert bundle(orders, definitions).chains[0].attachments[0].instance == applied.instance
    orders["spec"]["policies"][0]["mode"] = "shadow"
    made = translate(validate(orders, definitions, {}), definitions, EdgeSettings())
    (shadow,) = made.message.chains[0].attachments
    assert shadow.shadow
    assert shadow.instance != applied.instance
    assert shadow.definition_digest == f"shadow:{applied.definition_digest}"
    assert ("count", "v1.0.0", applied.definition_digest) in made.policies


def test_nothing_of_a_shadow_counts_for_the_route(orders: JsonObject, definitions: Definitions) -> None:
    """Neither its timeout nor its onError."""
    orders["spec"]["policies"] = [{"name": "log-message", "version": "v1", "onError": "continue"}]
    orders["spec"]["operations"] = [{"method": "GET", "path": "/"}]
    before = bundle(orders, definitions)
    orders["spec"]["policies"].append({"name": "log-message", "version": "v1", "mode": "shadow", "timeout": "59s"})
    after = bundle(orders, definitions)
    assert goes_on_when_crashed(after.chains[0])
    assert routes_without_chain(after) == routes_without_chain(before)


def routes_without_chain(bundle: node_pb2.ApiBundle) -> list[bytes]:
    ids = [chain.id.encode() for chain in bundle.chains]
    return [
        functools.reduce(lambda route, chain_id: route.replace(chain_id, b""), ids, serialized)
        for serialized in bundle.routes
    ]


def test_another_api_or_version_has_instances_of_its_own(orders: JsonObject, definitions: Definitions) -> None:
    before = set(instances(bundle(orders, definitions), "GET /{id}"))
    renamed = {**orders, "metadata": {"name": "other"}}
    versioned = {**orders, "spec": {**orders["spec"], "version": "v2.0"}}
    assert not before & set(instances(bundle(renamed, definitions), "GET /{id}"))
    assert not before & set(instances(bundle(versioned, definitions), "GET /{id}"))


def test_two_equal_attachments_are_two_instances(orders: JsonObject, definitions: Definitions) -> None:
    count = {"name": "count", "version": "v1"}
    orders["spec"]["policies"] = [count, count]
    orders["spec"]["operations"][0]["policies"] = [count]
    assert len(set(instances(bundle(orders, definitions), "GET /{id}"))) == 3


def test_a_chain_asks_for_the_union_of_its_policies(orders: JsonObject, definitions: Definitions) -> None:
    (post,) = (chain for chain in bundle(orders, definitions).chains if chain.operation == "POST /")
    assert post.processing_mode == node_pb2.ProcessingMode(
        request_headers=node_pb2.HEADER_MODE_PROCESS,
        request_body=node_pb2.BODY_MODE_BUFFER,
        response_headers=node_pb2.HEADER_MODE_PROCESS,
        response_body=node_pb2.BODY_MODE_BUFFER,
    )


def test_big_integers_stay_integers(orders: JsonObject, definitions: Definitions) -> None:
    (post,) = (chain for chain in bundle(orders, definitions).chains if chain.operation == "POST /")
    assert post.attachments[1].parameters == b'{"limits":{"depth":9007199254740993}}'


def test_a_policy_that_left_the_build_is_named(orders: JsonObject) -> None:
    with pytest.raises(UnknownPolicyError, match="got 'log-message'"):
        translate(from_document(orders), Definitions(), EdgeSettings())


def test_a_condition_is_part_of_what_an_instance_is(orders: JsonObject, definitions: Definitions) -> None:
    """An edit of a condition changes the instance, and the chains that have it; without a condition ids stay."""
    before = bundle(orders, definitions)
    orders["spec"]["policies"][0]["when"] = 'request.method == "GET"'
    first = bundle(orders, definitions)
    assert {chain.attachments[0].when for chain in first.chains} == {'request.method == "GET"'}
    orders["spec"]["policies"][0]["when"] = 'request.method == "PUT"'
    second = bundle(orders, definitions)
    for before_edit, after_edit in ((before, first), (first, second)):
        assert chain_ids(before_edit).keys() == chain_ids(after_edit).keys()
        assert not set(chain_ids(before_edit).values()) & set(chain_ids(after_edit).values())
    (operation, *_) = chain_ids(first)
    assert instances(first, operation)[0] != instances(second, operation)[0]
    assert instances(first, operation)[1:] == instances(second, operation)[1:]
