"""Documents of Gateway API in a real store: all or none of what is valid, and what is refused leaves what was there."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
from gatewright_controller._gen import node_pb2
from gatewright_controller.apis.controller import Controller
from gatewright_controller.gateway.gateways import Gateways
from gatewright_controller.gateway_api import Deployed
from gatewright_controller.kinds import Kinds
from gatewright_controller.kubernetes.documents import OWNER, Documents, DocumentsError
from gatewright_controller.kubernetes.writing import NotLeadingError
from gatewright_controller.nodes.node import Node
from gatewright_controller.plans import Intent, Plans
from gatewright_controller.store import Author, Terms
from gatewright_documents.mistake import Invalid, Mistake
from gatewright_documents.values import JsonObject

pytestmark = pytest.mark.anyio
AUTHOR = Author("kubernetes")
NODES = {"gatewright.dev/gateway": "shop.web"}


@pytest.fixture
def plans(controller: Controller, gateways: Gateways, kinds: Kinds) -> Plans:
    gateways_in_use = controller.gateways
    gateways_in_use.default = gateways.names
    return Plans(controller, gateways, kinds)


@pytest.fixture
def documents(plans: Plans, controller: Controller) -> Documents:
    return Documents(plans, controller.deployment)


@pytest.fixture
def api(orders: JsonObject) -> Callable[..., JsonObject]:
    def make(name: str, **spec: object) -> JsonObject:
        made = copy.deepcopy(orders)
        made["metadata"]["name"] = name
        made["spec"] |= {"context": f"/{name}", "nodes": NODES, **spec}
        return made

    return make


def node_gateway(*listeners: tuple[str, int]) -> JsonObject:
    ports = [{"name": name, "address": "0.0.0.0", "port": port} for name, port in listeners]  # noqa: S104
    return {
        "apiVersion": "gatewright.dev/v1",
        "kind": "NodeGateway",
        "metadata": {"name": "web"},
        "spec": {"nodes": NODES, "listeners": ports},
    }


async def apply(documents: Documents, *wanted: JsonObject) -> None:
    await documents.apply(wanted, AUTHOR, lambda: None)


async def contexts(controller: Controller) -> dict[str, str]:
    return {stored.name: stored.context for stored in await controller.list()}


async def test_what_is_no_longer_wanted_goes_and_what_is_of_others_stays(
    documents: Documents, controller: Controller, api: Callable[..., JsonObject]
) -> None:
    await controller.create(api("others"), Terms(owner="team"))
    await apply(documents, api("a"), api("b"))
    await apply(documents, api("b"))
    assert await contexts(controller) == {"b": "/b", "others": "/others"}
    assert {stored.name: stored.owner for stored in await controller.list()} == {"b": OWNER, "others": "team"}


async def test_a_refused_document_keeps_what_is_stored_and_others_go_on(
    documents: Documents, controller: Controller, api: Callable[..., JsonObject]
) -> None:
    await apply(documents, api("a"), api("b"))
    wrong = api("a", context="/new", operations=[{"method": "GET", "path": "no-slash"}])
    await apply(documents, wrong, api("b", context="/b2"), api("c"))
    assert await contexts(controller) == {"a": "/a", "b": "/b2", "c": "/c"}
    outcome = documents.deployed([wrong, api("b")])
    assert outcome["a"].state == "rejected"
    assert "Api/a.json:" in outcome["a"].reason
    assert "spec.operations[0].path" in outcome["a"].reason
    assert outcome["b"].state == "pending"
    await apply(documents, api("b", context="/b2"))
    assert await contexts(controller) == {"b": "/b2"}


async def test_one_that_was_never_valid_is_left_out(
    documents: Documents, controller: Controller, api: Callable[..., JsonObject]
) -> None:
    await apply(documents, api("a", policies=[{"name": "unknown", "version": "v1"}]), api("b"))
    assert await contexts(controller) == {"b": "/b"}


async def test_what_a_refused_one_has_is_not_taken_by_another(
    documents: Documents, controller: Controller, api: Callable[..., JsonObject]
) -> None:
    """Its old version is served, so both cannot be."""
    await apply(documents, api("a"))
    await apply(documents, api("a", version="wrong version"), api("b", context="/a"))
    assert await contexts(controller) == {"a": "/a"}
    assert {name for _, name in documents.refused} == {"a", "b"}


async def test_a_name_of_another_owner_is_left_to_it(
    documents: Documents, controller: Controller, api: Callable[..., JsonObject]
) -> None:
    await controller.create(api("a"), Terms(owner="team"))
    await apply(documents, api("a", context="/mine"), api("b"))
    assert await contexts(controller) == {"a": "/a", "b": "/b"}
    assert documents.deployed([api("a")])["a"] == Deployed(
        "rejected", "team has a resource of this name; delete it, or give it another name"
    )


async def test_a_listener_that_a_kept_api_names_may_go(
    documents: Documents, controller: Controller, api: Callable[..., JsonObject]
) -> None:
    """Then what was kept cannot be served: it goes, and the new Gateway is stored."""
    await apply(documents, node_gateway(("http", 8080)), api("a", listeners=["http"]), api("b"))
    wrong = api("a", listeners=["http"], operations=[])
    await apply(documents, node_gateway(("other", 8081)), wrong, api("b"))
    assert await contexts(controller) == {"b": "/b"}
    assert controller.deployment.node_gateway_status("web").state == "pending"
    assert ("Api", "a") in documents.refused


async def test_what_nodes_say_is_what_has_become_of_it(
    documents: Documents,
    controller: Controller,
    api: Callable[..., JsonObject],
    connect: Callable[[Controller], Node],
) -> None:
    await apply(documents, api("a"), node_gateway(("http", 8080)))
    outcome = documents.deployed([api("a"), node_gateway()])
    assert (outcome["a"].state, outcome["web"].state) == ("pending", "pending")
    node = connect(controller)
    node.labels = NODES
    node.applied["a"] = controller.deployment.next_update(node).bundles[0].digest
    node.gateway_applied = node.gateway_sent
    outcome = documents.deployed([api("a"), node_gateway()])
    assert outcome == {"a": Deployed("deployed"), "web": Deployed("deployed")}


async def test_a_node_that_starts_takes_nothing_back_that_others_serve(
    documents: Documents,
    controller: Controller,
    api: Callable[..., JsonObject],
    connect: Callable[[Controller], Node],
) -> None:
    """It is not ready. One that has served, and has not acknowledged a change, counts."""
    both = [api("a"), node_gateway(("http", 8080))]
    await apply(documents, *both)
    assert documents.unanswered(both) == {"a", "web"}
    served = connect(controller)
    served.labels = NODES
    assert documents.unanswered(both) == {"a", "web"}, "it is connected, and has acknowledged nothing"
    served.applied["a"] = controller.deployment.next_update(served).bundles[0].digest
    served.gateway_applied = served.gateway_sent
    assert documents.unanswered(both) == set()
    started = controller.deployment.connect(
        node_pb2.Hello(node_id="n2", labels=NODES, policies=[
            node_pb2.PolicyRef(name=found.name, version=found.version, definition_digest=found.digest)
            for found in controller.definitions
        ])
    )  # fmt: skip
    assert {outcome.state for outcome in documents.deployed(both).values()} == {"deployed"}
    started.gateway_applied = controller.deployment.next_update(started).gateway.digest
    assert documents.deployed(both)["a"].state == "pending"
    started.applied["a"] = served.applied["a"]
    assert documents.deployed(both)["a"].state == "deployed"
    await apply(documents, api("a"), node_gateway(("http", 8081)))
    started.gateway_applied = controller.deployment.next_update(started).gateway.digest
    assert documents.deployed(both)["web"].state == "pending"


async def test_nothing_is_written_by_one_that_does_not_lead(
    documents: Documents, controller: Controller, api: Callable[..., JsonObject]
) -> None:
    def refuse() -> None:
        raise NotLeadingError

    with pytest.raises(NotLeadingError):
        await documents.apply([api("a")], AUTHOR, refuse)
    assert await contexts(controller) == {}


async def test_what_no_document_is_at_fault_for_is_an_error_and_changes_nothing(
    documents: Documents,
    plans: Plans,
    api: Callable[..., JsonObject],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def refuse(*_: object) -> None:
        raise Invalid([Mistake("", "expected something else")])

    monkeypatch.setattr(plans, "apply", refuse)
    with pytest.raises(DocumentsError, match="expected something else"):
        await apply(documents, api("a"))


async def test_the_same_again_is_no_write(
    documents: Documents, controller: Controller, api: Callable[..., JsonObject]
) -> None:
    await apply(documents, api("a"), node_gateway(("http", 8080)))
    revision = controller.store.revision
    await apply(documents, api("a"), node_gateway(("http", 8080)))
    assert controller.store.revision == revision
    assert Intent(OWNER, prune=True).keeps == ()
