from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from gatewright_controller._gen import node_pb2
from gatewright_controller.apis.api_source import ApiSource
from gatewright_controller.apis.controller import Controller
from gatewright_controller.gateway.gateways import Gateways
from gatewright_controller.kinds import Keyring, open_kinds
from gatewright_controller.nodes.node import Node
from gatewright_controller.plans import ForeignError, Intent, MovedError, Plans, Reviewed, ShownPlan
from gatewright_controller.store import Author, Store
from gatewright_documents.mistake import Invalid
from gatewright_documents.values import JsonObject

pytestmark = pytest.mark.anyio
TEAM = Intent("team-a", prune=True)


@pytest.fixture
async def plans(controller: Controller, gateways: Gateways) -> Plans:
    controller.gateways.default = gateways.names
    return Plans(controller, gateways, open_kinds(controller, Keyring()))


def sources(*documents: JsonObject) -> list[ApiSource]:
    return [ApiSource(f"{name_of(document)}.yaml", yaml.safe_dump(document).encode()) for document in documents]


def name_of(document: JsonObject) -> str:
    name: str = document["metadata"].get("name", "gateway")
    return name


def changed(document: JsonObject, name: str = "", **spec: object) -> JsonObject:
    """A copy with these fields of spec, and another name if one is given."""
    copied = copy.deepcopy(document)
    copied["spec"] |= spec
    copied["metadata"]["name"] = name or name_of(document)
    return copied


def actions(plan: ShownPlan) -> list[str]:
    return [f"{change.action} {change.name}" for change in plan.changes]


# ------------------------------------------------------------ all of it or nothing


async def test_all_of_a_set_has_one_revision_and_reaches_nodes_in_one_update(
    plans: Plans, controller: Controller, store: Store, orders: JsonObject, connect: Callable[[Controller], Node]
) -> None:
    node = connect(controller)
    both = sources(orders, changed(orders, "other", context="/other"))
    done = await plans.apply(both, Intent())
    assert (actions(done), done.revision) == (["add orders-v1", "add other"], 1)
    assert {api.name: api.revision for api in store.list()} == {"orders-v1": 1, "other": 1}
    update = controller.deployment.next_update(node)
    assert [bundle.api for bundle in update.bundles] == ["orders-v1", "other"]
    again = await plans.apply(both, Intent())
    assert (again.changes, again.revision, store.revision) == ((), 1, 1)
    assert [name for _, name in again.unchanged] == ["orders-v1", "other"]


async def test_one_mistake_keeps_all_out_and_all_mistakes_are_said(
    plans: Plans, store: Store, orders: JsonObject
) -> None:
    wrong = changed(orders, "wrong", context="wrong", policies=[{"name": "no-such-policy", "version": "v1"}])
    with pytest.raises(Invalid) as refused:
        await plans.apply([*sources(orders, wrong), ApiSource("bad.yaml", b"kind: [\n")], Intent())
    assert {(mistake.file.partition(":")[0], mistake.field) for mistake in refused.value.mistakes} == {
        ("bad.yaml", ""),
        ("wrong.yaml", "spec.context"),
        ("wrong.yaml", "spec.policies[0].name"),
    }
    assert store.list() == []


async def test_names_stand_once_and_kinds_are_known(plans: Plans, orders: JsonObject) -> None:
    with pytest.raises(
        Invalid, match=r"twice\.yaml:.*expected each API once, got 'orders-v1', which orders-v1\.yaml has"
    ):
        await plans.plan([*sources(orders), ApiSource("twice.yaml", yaml.safe_dump(orders).encode())], Intent())
    known = "'Api', 'Gateway', 'Secret', 'Plan', 'Consumer', 'Defaults', 'Namespace' or 'NodeGateway'"
    with pytest.raises(Invalid, match=f"expected {known}, got 'Route'"):
        await plans.plan(sources({**orders, "kind": "Route"}), Intent())


async def test_a_failure_of_storage_leaves_nodes_and_store_as_they_were(
    plans: Plans, controller: Controller, store: Store, orders: JsonObject, monkeypatch: pytest.MonkeyPatch
) -> None:
    await plans.apply(sources(orders), Intent())
    before = store.list()

    def fail(*_: object) -> None:
        raise OSError("for this test")

    monkeypatch.setattr("gatewright_controller.store.transaction.Transaction.note", fail)
    with pytest.raises(OSError, match="for this test"):
        await plans.apply(
            sources(changed(orders, context="/new"), changed(orders, "other", context="/other")), Intent()
        )
    assert (store.list(), store.revision) == (before, 1)
    assert controller.deployment.apis == {"orders-v1"}


# ------------------------------------------------------------ reviewed plans


async def test_a_plan_is_applied_exactly(plans: Plans, store: Store, orders: JsonObject) -> None:
    planned = await plans.plan(sources(orders), TEAM)
    assert store.list() == []
    done = await plans.apply(sources(orders), TEAM, reviewed=Reviewed(planned.digest, planned.revision))
    assert (done.changes, done.digest) == (planned.changes, planned.digest)


async def test_a_plan_is_refused_once_the_world_has_moved(plans: Plans, store: Store, orders: JsonObject) -> None:
    await plans.apply(sources(orders), Intent())
    wanted = sources(changed(orders, displayName="Orders"))
    planned = await plans.plan(wanted, Intent())
    await plans.apply(sources(changed(orders, displayName="Another's")), Intent())
    with pytest.raises(MovedError) as refused:
        await plans.apply(wanted, Intent(), reviewed=Reviewed(planned.digest, planned.revision))
    assert refused.value.moved == ["orders-v1"]
    assert refused.value.plan.changes[0].revision == 2
    assert store.get("orders-v1").api.spec.display_name == "Another's"


async def test_a_plan_holds_where_what_it_does_not_reach_has_moved(plans: Plans, orders: JsonObject) -> None:
    planned = await plans.plan(sources(orders), Intent())
    await plans.apply(sources(changed(orders, "other", context="/other")), Intent())
    done = await plans.apply(sources(orders), Intent(), reviewed=Reviewed(planned.digest, planned.revision))
    assert actions(done) == ["add orders-v1"]


async def test_a_plan_is_of_its_documents_and_its_owner_alone(plans: Plans, orders: JsonObject) -> None:
    planned = await plans.plan(sources(orders), Intent())
    for other, intent in ((changed(orders, displayName="x"), Intent()), (orders, Intent("team-a"))):
        with pytest.raises(MovedError):
            await plans.apply(sources(other), intent, reviewed=Reviewed(planned.digest))


KEYED = """\
name: keyed
version: v1.0.0
runtime: go
processingMode: {requestHeaderMode: PROCESS}
parameters:
  type: object
  properties: {key: {type: string, writeOnly: true}}
"""


async def test_secrets_are_in_no_part_of_a_plan(
    plans: Plans, controller: Controller, folder: Path, orders: JsonObject
) -> None:
    """Nor is one that is unchanged a difference: a mask stands for what is stored."""
    (folder / "keyed-v1.0.0.yaml").write_text(KEYED)
    await controller.reload_definitions()

    def with_key(key: str) -> JsonObject:
        return changed(orders, policies=[{"name": "keyed", "version": "v1", "params": {"key": key}}])

    planned = await plans.plan(sources(with_key("first-s3cret")), Intent())
    await plans.apply(sources(with_key("first-s3cret")), Intent())
    replaced = await plans.plan(sources(with_key("second-s3cret")), Intent())
    assert "s3cret" not in f"{planned}{replaced}"
    assert '+        key: "********"  # a new value' in replaced.changes[0].diff
    assert (await plans.plan(sources(with_key("********")), Intent())).changes == ()


# ------------------------------------------------------------ owners


async def test_prune_deletes_what_its_owner_has_alone(plans: Plans, store: Store, orders: JsonObject) -> None:
    await plans.apply(sources(orders, changed(orders, "old", context="/old")), Intent("team-a"))
    await plans.apply(sources(changed(orders, "theirs", context="/theirs")), Intent("team-b"))
    await plans.apply(sources(changed(orders, "no-ones", context="/no-ones")), Intent())
    done = await plans.apply(sources(orders), TEAM)
    assert actions(done) == ["delete old"]
    assert {api.name: api.owner for api in store.list()} == {"orders-v1": "team-a", "theirs": "team-b", "no-ones": ""}


async def test_another_owners_api_is_refused_unless_it_is_taken_over(
    plans: Plans, store: Store, orders: JsonObject
) -> None:
    await plans.apply(sources(orders), Intent("team-a"))
    with pytest.raises(ForeignError) as refused:
        await plans.apply(sources(changed(orders, displayName="x")), Intent("team-b"))
    assert refused.value.resources == [("Api", "orders-v1", "team-a")]
    await plans.apply(sources(changed(orders, displayName="x")), Intent("team-b", take_over=True))
    assert store.get("orders-v1").owner == "team-b"


async def test_a_conflict_names_the_winner_with_the_line(plans: Plans, orders: JsonObject) -> None:
    await plans.apply(sources(orders), Intent("team-a"))
    with pytest.raises(Invalid) as refused:
        await plans.apply(sources(changed(orders, "mine")), Intent("team-b"))
    (mistake,) = refused.value.mistakes
    assert (mistake.file.partition(":")[0], mistake.field) == ("mine.yaml", "spec.context")
    assert "got '/orders/v1.0', which orders-v1 has, written 20" in mistake.message
    assert "owner team-a; if orders-v1 is to be renamed to mine, prune with the owner team-a" in mistake.message


# ------------------------------------------------------------ moves and renames at nodes


def report_applied(controller: Controller, node: Node, update: node_pb2.Update) -> None:
    """The node runs what the update has."""
    applied = node_pb2.ApiStatus.STATE_APPLIED
    statuses = [node_pb2.ApiStatus(api=bundle.api, digest=bundle.digest, state=applied) for bundle in update.bundles]
    controller.deployment.report(node, node_pb2.Report(revision=update.revision, apis=statuses))


async def test_a_node_keeps_what_goes_until_it_runs_what_takes_its_place(
    plans: Plans, controller: Controller, orders: JsonObject, connect: Callable[[Controller], Node]
) -> None:
    """Requests are answered all the time, however long the new one takes to be built."""
    node, deployment = connect(controller), controller.deployment
    await plans.apply(sources(orders), TEAM)
    report_applied(controller, node, deployment.next_update(node))
    done = await plans.apply(sources(changed(orders, "purchases")), TEAM)
    assert actions(done) == ["rename purchases"]
    update = deployment.next_update(node)
    assert ([bundle.api for bundle in update.bundles], list(update.removed_apis)) == (["purchases"], [])
    assert (deployment.apis, deployment.is_removed("orders-v1")) == ({"purchases"}, False)
    report_applied(controller, node, update)
    assert list(deployment.next_update(node).removed_apis) == ["orders-v1"]


async def test_of_names_that_follow_each_other_a_node_keeps_the_one_that_it_runs(
    plans: Plans, controller: Controller, orders: JsonObject, connect: Callable[[Controller], Node]
) -> None:
    node, deployment = connect(controller), controller.deployment
    await plans.apply(sources(orders), TEAM)
    report_applied(controller, node, deployment.next_update(node))
    await plans.apply(sources(changed(orders, "second")), TEAM)
    deployment.next_update(node)
    await plans.apply(sources(changed(orders, "third")), TEAM)
    update = deployment.next_update(node)
    assert ([bundle.api for bundle in update.bundles], list(update.removed_apis)) == (["third"], ["second"])
    report_applied(controller, node, update)
    assert list(deployment.next_update(node).removed_apis) == ["orders-v1"]


async def test_what_goes_without_a_successor_goes_at_once(
    plans: Plans, controller: Controller, orders: JsonObject, connect: Callable[[Controller], Node]
) -> None:
    node, deployment = connect(controller), controller.deployment
    await plans.apply(sources(orders, changed(orders, "old", context="/old")), TEAM)
    report_applied(controller, node, deployment.next_update(node))
    await plans.apply(sources(orders), TEAM)
    assert list(deployment.next_update(node).removed_apis) == ["old"]


async def test_a_swap_reaches_nodes_in_one_update(
    plans: Plans, controller: Controller, orders: JsonObject, connect: Callable[[Controller], Node]
) -> None:
    other = changed(orders, "other", context="/other")
    await plans.apply(sources(orders, other), Intent())
    node = connect(controller)
    controller.deployment.next_update(node)
    swapped = sources(changed(orders, context="/other"), changed(other, context="/orders/$version"))
    done = await plans.apply(swapped, Intent())
    assert actions(done) == ["move orders-v1", "move other"]
    update = controller.deployment.next_update(node)
    assert {bundle.api: bundle.context for bundle in update.bundles} == {"orders-v1": "/other", "other": "/orders/v1.0"}


# ------------------------------------------------------------ the history


async def test_each_change_is_in_the_history_with_its_author(plans: Plans, store: Store, orders: JsonObject) -> None:
    author = Author("token", "192.0.2.1", "release 7")
    await plans.apply(sources(orders, changed(orders, "old", context="/old")), TEAM, author)
    await plans.apply(sources(changed(orders, "purchases")), TEAM, author)
    gone, came = store.history("Api", "orders-v1"), store.history("Api", "purchases")
    assert [(entry.action, entry.revision) for entry in gone] == [("renamed", 2), ("created", 1)]
    assert [(entry.action, entry.revision, entry.author) for entry in came] == [("renamed", 2, author)]
    assert [entry.action for entry in store.history("Api", "old")] == ["deleted", "created"]


# ------------------------------------------------------------ the Gateway

GATEWAY: JsonObject = {
    "apiVersion": "gatewright.dev/v1",
    "kind": "Gateway",
    "metadata": {},
    "spec": {"listeners": [{"name": "http", "address": "127.0.0.1", "port": 8080}]},
}


async def test_the_gateway_of_a_set_is_written_with_its_apis(
    plans: Plans, gateways: Gateways, store: Store, orders: JsonObject
) -> None:
    inside = {"name": "inside", "address": "127.0.0.1", "port": 8081}
    wider = changed(GATEWAY, listeners=[*GATEWAY["spec"]["listeners"], inside])
    del wider["metadata"]["name"]
    with_listener = changed(orders, listeners=["inside"])
    done = await plans.apply(sources(wider, with_listener), TEAM)
    assert actions(done) == ["add gateway", "add orders-v1"]
    assert gateways.current_document == store.gateway().document  # type: ignore[union-attr]
    assert store.get("orders-v1").revision == done.revision
    again = await plans.apply(sources(wider, with_listener), TEAM)
    assert (again.changes, [kind for kind, _ in again.unchanged]) == ((), ["Gateway", "Api"])
    narrow = copy.deepcopy(GATEWAY)
    with pytest.raises(Invalid, match="a listener 'inside' that serves APIs, which the API orders-v1 names"):
        await plans.apply(sources(narrow), Intent())


async def test_the_gateway_of_an_owner_is_pruned(plans: Plans, gateways: Gateways, orders: JsonObject) -> None:
    await plans.apply(sources(GATEWAY, orders), TEAM)
    planned = await plans.plan(sources(orders), TEAM)
    assert planned.changes[0].effects == ("nodes no longer listen on http; connections to it are drained",)
    assert actions(await plans.apply(sources(orders), TEAM)) == ["delete gateway"]
    assert gateways.current_document is None
