from __future__ import annotations

import asyncio

import pytest
from gatewright_controller._gen import node_pb2
from gatewright_controller.nodes.deployment import Deployment
from gatewright_controller.nodes.node import Node
from gatewright_controller.translate import Bundle, unserved
from msgspec.structs import replace

pytestmark = pytest.mark.anyio
POLICY = ("log-message", "v1.0.0", "d" * 64)


def bundle(api: str, digest: str, *policies: tuple[str, str, str], size: int = 0, **nodes: str) -> Bundle:
    """nodes: the labels of those that it is for."""
    message = node_pb2.ApiBundle(api=api, digest=digest, context=f"/{api}", routes=[b"x" * size])
    return Bundle.of(message, frozenset(policies), nodes)


def hello(
    node_id: str = "n1", bundles: dict[str, str] | None = None, *policies: tuple[str, str, str], **labels: str
) -> node_pb2.Hello:
    return node_pb2.Hello(
        node_id=node_id,
        labels=labels,
        policies=[node_pb2.PolicyRef(name=name, version=v, definition_digest=digest) for name, v, digest in policies],
        bundles=[node_pb2.BundleRef(api=api, digest=digest) for api, digest in (bundles or {}).items()],
    )


def reported(api: str, digest: str, state: node_pb2.ApiStatus.State, reason: str = "") -> node_pb2.Report:
    return node_pb2.Report(apis=[node_pb2.ApiStatus(api=api, digest=digest, state=state, reason=reason)])


def applied(deployment: Deployment, node: Node, api: str, digest: str) -> None:
    deployment.report(node, reported(api, digest, node_pb2.ApiStatus.STATE_APPLIED))


def unserved_in(update: node_pb2.Update) -> list[tuple[str, str]]:
    assert all(
        not api_bundle.routes and not api_bundle.chains and not api_bundle.clusters
        for api_bundle in update.bundles
        if api_bundle.unserved
    )
    return [(api_bundle.context, api_bundle.unserved) for api_bundle in update.bundles if api_bundle.unserved]


def sent(update: node_pb2.Update) -> tuple[list[str], list[str]]:
    bundles = [f"{api_bundle.api}@{api_bundle.digest}" for api_bundle in update.bundles if not api_bundle.unserved]
    return bundles, list(update.removed_apis)


async def test_a_node_is_sent_what_differs_once() -> None:
    deployment = Deployment(7)
    deployment.set_desired(bundle("a", "1"), 8)
    deployment.set_desired(bundle("b", "1"), 9)
    node = deployment.connect(hello(bundles={"a": "1", "b": "0", "old": "1"}))
    update = deployment.next_update(node)
    assert sent(update) == (["b@1"], ["old"])
    assert update.revision == 9
    assert sent(deployment.next_update(node)) == ([], [])


async def test_what_is_unsettled_on_a_node_is_sent_or_taken_away_again() -> None:
    deployment = Deployment()
    deployment.set_desired(bundle("reverted", "1"), 1)
    greeting = hello()
    for api, digest in (("reverted", "1"), ("deleted", "")):
        greeting.bundles.add(api=api, digest=digest, unsettled=True)
    node = deployment.connect(greeting)
    assert node.applied == {"reverted": "1"}
    assert sent(deployment.next_update(node)) == (["reverted@1"], ["deleted"])
    assert not deployment.is_removed("deleted")
    assert sent(deployment.next_update(node)) == ([], [])


async def test_a_node_keeps_what_goes_until_it_runs_what_takes_its_place() -> None:
    """However long that takes: requests are answered all the time."""
    deployment = Deployment()
    deployment.set_desired(bundle("old", "1"), 1)
    node = deployment.connect(hello(bundles={"old": "1"}))
    deployment.set_desired(bundle("new", "1"), 2)
    deployment.remove("old", 2, ["new"])
    assert sent(deployment.next_update(node)) == (["new@1"], [])
    assert (deployment.apis, deployment.is_removed("old")) == ({"new"}, False)
    deployment.report(node, reported("new", "1", node_pb2.ApiStatus.STATE_PENDING, "it is being built"))
    assert sent(deployment.next_update(node)) == ([], [])
    applied(deployment, node, "new", "1")
    assert sent(deployment.next_update(node)) == ([], ["old"])
    deployment.report(node, reported("old", "", node_pb2.ApiStatus.STATE_REMOVED))
    assert deployment.is_removed("old")


async def test_of_names_that_follow_each_other_a_node_keeps_the_one_that_it_runs() -> None:
    deployment = Deployment()
    node = deployment.connect(hello(bundles={"first": "1"}))
    deployment.set_desired(bundle("second", "1"), 2)
    deployment.remove("first", 2, ["second"])
    assert sent(deployment.next_update(node)) == (["second@1"], [])
    deployment.set_desired(bundle("third", "1"), 3)
    deployment.remove("second", 3, ["third"])
    assert sent(deployment.next_update(node)) == (["third@1"], ["second"])
    applied(deployment, node, "third", "1")
    assert sent(deployment.next_update(node)) == ([], ["first"])


async def test_what_goes_stays_no_longer_than_what_takes_its_place_is_wanted() -> None:
    deployment = Deployment()
    node = deployment.connect(hello(bundles={"old": "1"}))
    deployment.set_desired(bundle("new", "1"), 2)
    deployment.remove("old", 2, ["new"])
    assert sent(deployment.next_update(node)) == (["new@1"], [])
    deployment.remove("new", 3)
    assert sent(deployment.next_update(node)) == ([], ["new", "old"])


async def test_deployed_means_that_every_connected_node_has_acknowledged_this_version() -> None:
    deployment = Deployment()
    deployment.set_desired(bundle("a", "1"), 1)
    assert (deployment.status("a").state, deployment.status("a").reason) == ("pending", "no node is connected")
    first, second = deployment.connect(hello("n1")), deployment.connect(hello("n2"))
    applied(deployment, first, "a", "1")
    assert deployment.status("a").reason == "n2: has not acknowledged it yet"
    applied(deployment, second, "a", "0")
    assert deployment.status("a").state == "pending"
    applied(deployment, second, "a", "1")
    assert deployment.status("a").state == "deployed"
    deployment.set_desired(bundle("a", "2"), 2)
    assert deployment.status("a").state == "pending"


async def test_a_rejection_counts_for_the_version_that_was_rejected_only() -> None:
    deployment = Deployment()
    deployment.set_desired(bundle("a", "1"), 1)
    node = deployment.connect(hello())
    deployment.report(node, reported("a", "1", node_pb2.ApiStatus.STATE_REJECTED, "Envoy: bad regex"))
    assert (deployment.status("a").state, deployment.status("a").reason) == ("rejected", "n1: Envoy: bad regex")
    deployment.set_desired(bundle("a", "2"), 2)
    assert deployment.status("a").state == "pending"


async def test_what_a_node_cannot_run_now_is_pending_and_waited_for_no_longer() -> None:
    deployment = Deployment()
    deployment.set_desired(bundle("a", "1"), 1)
    first, second = deployment.connect(hello("n1")), deployment.connect(hello("n2"))
    waiting = asyncio.create_task(deployment.wait_until_converged("a", 60))
    for_all = asyncio.create_task(deployment.wait_until_all_converged(3600))
    applied(deployment, second, "a", "1")
    deployment.report(first, reported("a", "1", node_pb2.ApiStatus.STATE_PENDING, "no route to host"))
    status = await waiting
    async with asyncio.timeout(60):
        await for_all
    assert (status.state, status.reason) == ("pending", "n1: no route to host")
    deployment.report(second, reported("a", "1", node_pb2.ApiStatus.STATE_REJECTED, "bad regex"))
    assert deployment.status("a").state == "rejected"
    applied(deployment, first, "a", "1")
    applied(deployment, second, "a", "1")
    assert deployment.status("a").state == "deployed"


async def test_an_api_that_is_written_again_is_waited_for_again() -> None:
    deployment = Deployment()
    for name in ("a", "b", "c"):
        deployment.set_desired(bundle(name, "1"), 1)
    node = deployment.connect(hello())
    waiting = asyncio.create_task(deployment.wait_until_all_converged(60, ["a", "b"]))
    for name, digest in (("a", "1"), ("b", "1")):
        await asyncio.sleep(0)
        assert not waiting.done()
        if name == "b":
            deployment.set_desired(bundle("a", "2"), 2)
        applied(deployment, node, name, digest)
    await asyncio.sleep(0)
    assert not waiting.done()
    applied(deployment, node, "a", "2")
    async with asyncio.timeout(60):
        await waiting
    assert [deployment.status(name).state for name in ("a", "b", "c")] == ["deployed", "deployed", "pending"]


async def test_an_api_that_ran_may_be_pending_again() -> None:
    deployment = Deployment()
    deployment.set_desired(bundle("a", "1"), 1)
    node = deployment.connect(hello("n1", {"a": "1"}))
    deployment.report(node, reported("a", "1", node_pb2.ApiStatus.STATE_PENDING, "prepare: no route to host"))
    assert (deployment.status("a").state, deployment.status("a").reason) == ("pending", "n1: prepare: no route to host")
    deployment.set_desired(bundle("a", "2"), 2)
    assert deployment.status("a").reason == "n1: has not acknowledged it yet"


async def test_a_node_without_the_policy_gets_the_reason_instead_of_the_api() -> None:
    deployment = Deployment()
    deployment.set_desired(bundle("a", "2", POLICY), 1)
    node = deployment.connect(hello("n1", {"a": "1"}))
    update = deployment.next_update(node)
    assert sent(update) == ([], [])
    reason = "the node's build has no policy log-message:v1.0.0; build it in, or take it off the API"
    assert unserved_in(update) == [("/a", reason)]
    assert not deployment.next_update(node).bundles
    assert deployment.status("a").state == "rejected"
    assert "the node's build has no policy log-message:v1.0.0" in deployment.status("a").reason


async def test_what_cannot_run_is_so_on_its_own_hosts() -> None:
    own = unserved("a", "/a", "v1", "no longer valid", ["b.example", "a.example"])
    assert list(own.message.hosts) == ["a.example", "b.example"]
    assert list(own.unserved("other").message.hosts) == ["a.example", "b.example"]
    assert own.digest != unserved("a", "/a", "v1", "no longer valid").digest


async def test_a_node_with_another_definition_is_named() -> None:
    deployment = Deployment()
    deployment.set_desired(bundle("a", "1", POLICY), 1)
    node = deployment.connect(hello("n1", {}, ("log-message", "v1.0.0", "e" * 64)))
    assert sent(deployment.next_update(node)) == ([], [])
    assert "another definition of log-message:v1.0.0 (eeeeeeeeeeee)" in deployment.status("a").reason
    fit = deployment.connect(hello("n1", {}, POLICY))
    assert sent(deployment.next_update(fit)) == (["a@1"], [])


async def test_what_cannot_be_translated_is_rejected_and_not_taken_away() -> None:
    deployment = Deployment()
    deployment.suspend(unserved("a", "/a", "v1", "no longer valid: …"), 1)
    node = deployment.connect(hello("n1", {"a": "1"}))
    update = deployment.next_update(node)
    assert sent(update) == ([], [])
    assert unserved_in(update) == [("/a", "no longer valid: …")]
    assert deployment.status("a").state == "rejected"


async def test_a_deleted_api_is_gone_when_every_node_has_confirmed_it() -> None:
    deployment = Deployment()
    deployment.set_desired(bundle("a", "1"), 1)
    node = deployment.connect(hello("n1", {"a": "1"}))
    deployment.remove("a", 2)
    waiting = asyncio.create_task(deployment.wait_until_removed(["a"], 60))
    assert sent(deployment.next_update(node)) == ([], ["a"])
    await asyncio.sleep(0)
    assert not waiting.done()
    deployment.report(node, reported("a", "", node_pb2.ApiStatus.STATE_REMOVED))
    assert await waiting


async def test_large_states_go_in_several_updates() -> None:
    deployment = Deployment(update_bytes=1000)
    for name, size in (("a", 600), ("b", 600), ("c", 5000), ("d", 10)):
        deployment.set_desired(bundle(name, "1", size=size), 1)
    node = deployment.connect(hello())
    updates = [sent(deployment.next_update(node))[0] for _ in range(5)]
    assert updates == [["a@1"], ["b@1"], ["c@1"], ["d@1"], []]


async def test_an_update_looks_at_what_has_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    deployment = Deployment()
    for number in range(20):
        deployment.set_desired(bundle(f"a{number}", "1"), 1)
    node = deployment.connect(hello("n1", {"gone": "1"}))
    assert len(deployment.next_update(node).bundles) == 20
    looked_at = list[str]()
    is_to_run = Node.is_to_run

    def noting(self: Node, desired: Bundle) -> bool:
        looked_at.append(desired.api)
        return is_to_run(self, desired)

    monkeypatch.setattr(Node, "is_to_run", noting)
    deployment.set_desired(bundle("a7", "2"), 2)
    deployment.remove("a8", 3)
    assert sent(deployment.next_update(node)) == (["a7@2"], ["a8"])
    assert sent(deployment.next_update(node)) == ([], [])
    assert set(looked_at) == {"a7"}


async def test_the_newest_stream_of_a_node_counts() -> None:
    deployment = Deployment()
    old = deployment.connect(hello())
    new = deployment.connect(hello())
    assert not deployment.is_current(old)
    deployment.disconnect(old)
    assert deployment.nodes == {"n1": new}


async def test_waiting_ends_with_the_answer_the_time_or_the_controller() -> None:
    deployment = Deployment()
    deployment.set_desired(bundle("a", "1"), 1)
    node = deployment.connect(hello())
    waiting = asyncio.create_task(deployment.wait_until_converged("a", 60))
    await asyncio.sleep(0)
    applied(deployment, node, "a", "1")
    assert (await waiting).state == "deployed"
    deployment.set_desired(bundle("a", "2"), 2)
    assert (await deployment.wait_until_converged("a", 0)).state == "pending"
    assert (await deployment.wait_until_converged("a", 0.01)).state == "pending"
    deployment.stop()
    assert (await deployment.wait_until_converged("a", 1000)).state == "pending"


async def test_the_status_of_an_api_that_is_being_written_is_pending() -> None:
    assert Deployment().status("unheard-of").state == "pending"


async def test_a_node_is_sent_what_is_for_its_labels() -> None:
    deployment = Deployment()
    for api in (bundle("all", "1"), bundle("eu", "1", zone="eu"), bundle("edge", "1", zone="eu", tier="edge")):
        deployment.set_desired(api, 1)
    deployment.suspend(replace(unserved("old", "/old", "v1", "no longer valid: …"), nodes={"zone": "us"}), 1)
    east, west, bare = (
        deployment.connect(hello("n1", zone="eu", disk="fast")),
        deployment.connect(hello("n2", zone="us")),
        deployment.connect(hello("n3", {"eu": "1"})),
    )
    assert sent(deployment.next_update(east)) == (["all@1", "eu@1"], [])
    update = deployment.next_update(west)
    assert (sent(update), unserved_in(update)) == ((["all@1"], []), [("/old", "no longer valid: …")])
    assert sent(deployment.next_update(bare)) == (["all@1"], ["eu"]), "its labels are others than before its start"
    assert [node.node for node in deployment.status("eu").nodes] == ["n1"]
    applied(deployment, east, "eu", "1")
    assert deployment.status("eu").state == "deployed"
    assert [(api, status.state) for api, status in deployment.statuses_on(west)] == [
        ("all", "pending"),
        ("old", "rejected"),
    ]


async def test_an_api_that_fits_no_connected_node_says_so_at_once() -> None:
    deployment = Deployment()
    deployment.set_desired(bundle("a", "1", zone="eu", tier="edge"), 1)
    assert deployment.status("a").reason == "no node is connected"
    deployment.connect(hello("n1", zone="eu"))
    deployment.connect(hello("n2"))
    status = await deployment.wait_until_converged("a", 1000)
    assert (status.state, status.nodes, status.unplaced) == ("pending", (), True)
    assert status.reason == (
        "expected a node with tier=edge, zone=eu, got n1 (zone=eu), n2 (no labels): start a node with "
        "--node-label tier=edge --node-label zone=eu, or change spec.nodes"
    )
    await deployment.wait_until_all_converged(1000)
    node = deployment.connect(hello("n3", zone="eu", tier="edge"))
    assert sent(deployment.next_update(node)) == (["a@1"], [])
    applied(deployment, node, "a", "1")
    assert deployment.status("a").state == "deployed"


async def test_an_api_that_moves_stays_where_it_was_until_it_runs_where_it_is_to() -> None:
    deployment = Deployment()
    deployment.set_desired(bundle("a", "1", zone="eu"), 1)
    east, west = deployment.connect(hello("n1", {"a": "1"}, zone="eu")), deployment.connect(hello("n2", zone="us"))
    deployment.set_desired(bundle("a", "2", zone="us"), 2)
    assert sent(deployment.next_update(east)) == ([], [])
    assert sent(deployment.next_update(west)) == (["a@2"], [])
    deployment.report(west, reported("a", "2", node_pb2.ApiStatus.STATE_PENDING, "it is being built"))
    assert sent(deployment.next_update(east)) == ([], [])
    applied(deployment, west, "a", "2")
    assert deployment.status("a").state == "deployed"
    assert sent(deployment.next_update(east)) == ([], ["a"])


async def test_the_stream_of_a_node_wakes_for_what_it_may_be_sent() -> None:
    deployment = Deployment()
    deployment.set_desired(bundle("a", "1", zone="eu"), 1)
    east, west = deployment.connect(hello("n1", {"a": "1"}, zone="eu")), deployment.connect(hello("n2", zone="us"))

    def woken() -> list[str]:
        found = [node.id for node in (east, west) if node.news.is_set()]
        for node in (east, west):
            node.news.clear()
            assert not deployment.next_update(node).removed_apis or node is east
        return found

    assert woken() == ["n1", "n2"]
    applied(deployment, east, "a", "1")
    assert woken() == ["n1"], "no other node is concerned"
    deployment.order(west, node_pb2.Drain(drained=True))
    assert woken() == ["n2"]
    deployment.set_desired(bundle("a", "2", zone="us"), 2)
    assert woken() == ["n1", "n2"]
    applied(deployment, west, "a", "2")
    assert woken() == ["n1", "n2"], "the one lets go of what the other runs now"
    applied(deployment, west, "a", "2")
    assert woken() == ["n2"]
    deployment.stop()
    assert woken() == ["n1", "n2"]


async def test_an_api_that_moves_to_nodes_that_are_not_there_says_where_it_stays() -> None:
    deployment = Deployment()
    deployment.set_desired(bundle("a", "1", zone="eu"), 1)
    east = deployment.connect(hello("n1", {"a": "1"}, zone="eu"))
    deployment.set_desired(bundle("a", "1", zone="us"), 2)
    assert deployment.status("a").reason.endswith("or change spec.nodes; until then n1 keeps the version before")
    assert sent(deployment.next_update(east)) == ([], [])
    deployment.set_desired(bundle("a", "1", zone="eu"), 3)
    assert deployment.status("a").state == "deployed", "back again"
    deployment.set_desired(bundle("a", "1", zone="us"), 4)
    deployment.remove("a", 5)
    assert sent(deployment.next_update(east)) == ([], ["a"])


async def test_an_api_that_moves_to_nodes_of_another_controller_leaves_at_once() -> None:
    """This controller does not know them."""
    deployment = Deployment(nodes_elsewhere=True)
    deployment.set_desired(bundle("a", "1", zone="eu"), 1)
    east = deployment.connect(hello("n1", {"a": "1"}, zone="eu"))
    deployment.set_desired(bundle("a", "1", zone="us"), 2)
    assert sent(deployment.next_update(east)) == ([], ["a"])
    assert deployment.status("a").reason.startswith("expected a node with zone=us at this controller, got n1 (zone=eu)")


async def test_what_goes_stays_until_its_successor_runs_on_the_nodes_that_that_is_for() -> None:
    deployment = Deployment()
    deployment.set_desired(bundle("old", "1"), 1)
    east, west = (
        deployment.connect(hello("n1", {"old": "1"}, zone="eu")),
        deployment.connect(hello("n2", {"old": "1"}, zone="us")),
    )
    deployment.set_desired(bundle("new", "1", zone="us"), 2)
    deployment.remove("old", 2, ["new"])
    assert (sent(deployment.next_update(east)), sent(deployment.next_update(west))) == (([], []), (["new@1"], []))
    applied(deployment, west, "new", "1")
    assert (sent(deployment.next_update(east)), sent(deployment.next_update(west))) == (([], ["old"]), ([], ["old"]))


async def test_a_node_that_gets_other_labels_runs_what_is_for_these() -> None:
    deployment = Deployment()
    deployment.set_desired(bundle("eu", "1", zone="eu"), 1)
    deployment.set_desired(bundle("us", "1", zone="us"), 1)
    node = deployment.connect(hello("n1", {"eu": "1"}, zone="eu"))
    assert sent(deployment.next_update(node)) == ([], [])
    deployment.update(node, hello("n1", zone="us"))
    assert sent(deployment.next_update(node)) == (["us@1"], ["eu"])


async def test_a_build_that_lacks_a_policy_keeps_no_other_from_serving() -> None:
    deployment = Deployment()
    deployment.set_desired(bundle("a", "1", POLICY), 1)
    whole, lacking = deployment.connect(hello("n1", {}, POLICY)), deployment.connect(hello("n2", {"a": "0"}))
    assert sent(deployment.next_update(whole)) == (["a@1"], [])
    assert unserved_in(deployment.next_update(lacking)) == [("/a", deployment.status("a").nodes[1].reason)]
    applied(deployment, whole, "a", "1")
    status = await deployment.wait_until_converged("a", 1000)
    assert [(node.node, node.state) for node in status.nodes] == [("n1", "deployed"), ("n2", "rejected")]
    assert status.reason == (
        "n2: the node's build has no policy log-message:v1.0.0; build it in, or take it off the API"
    )
    assert deployment.lacking_on(whole) == []
    (lacks,) = deployment.lacking_on(lacking)
    assert (lacks.name, lacks.version, lacks.apis) == ("log-message", "v1.0.0", ("a",))
    assert status.reason == f"n2: {lacks.reason}"
    deployment.update(lacking, hello("n2", {}, POLICY))
    assert sent(deployment.next_update(lacking)) == (["a@1"], [])


PAY = frozenset(["pay"])


def paying(digest: str, **nodes: str) -> Bundle:
    """A version of the API `a` that names a Secret."""
    return replace(bundle("a", digest), secrets=PAY, nodes=nodes)


def set_pay(deployment: Deployment, version: str) -> None:
    deployment.set_secret(node_pb2.SecretValues(name="pay", version=version), 1)


def versions_sent(deployment: Deployment, node: Node) -> list[str]:
    """Of the Secret."""
    return [secret.version for secret in deployment.next_update(node).secrets]


async def test_a_version_that_a_node_keeps_gets_new_values_of_its_secrets() -> None:
    """Where the node refuses the new version, which names none, and where the API was deleted for one that it
    refuses."""
    deployment = Deployment()
    set_pay(deployment, "1")
    deployment.set_desired(paying("1"), 1)
    node, other = deployment.connect(hello()), deployment.connect(hello("n2"))
    assert versions_sent(deployment, node) == ["1"]
    applied(deployment, node, "a", "1")
    deployment.set_desired(bundle("a", "2"), 2)
    assert sent(deployment.next_update(node)) == (["a@2"], [])
    deployment.report(node, reported("a", "2", node_pb2.ApiStatus.STATE_REJECTED, "no"))
    set_pay(deployment, "2")
    assert versions_sent(deployment, node) == ["2"]
    assert versions_sent(deployment, other) == [], "it runs no version that names it"
    deployment.remove("a", 3, ["b"])
    deployment.set_desired(bundle("b", "1"), 3)
    deployment.next_update(node)
    deployment.report(node, reported("b", "1", node_pb2.ApiStatus.STATE_REJECTED, "no"))
    set_pay(deployment, "3")
    assert versions_sent(deployment, node) == ["3"]
    applied(deployment, node, "b", "1")
    deployment.next_update(node)
    deployment.report(node, reported("a", "", node_pb2.ApiStatus.STATE_REMOVED))
    set_pay(deployment, "4")
    assert versions_sent(deployment, node) == []


async def test_a_secret_that_a_node_has_forgotten_is_sent_again() -> None:
    """It forgets it with the version that named it; the API is written again before the node is sent anything."""
    deployment = Deployment()
    set_pay(deployment, "1")
    deployment.set_desired(paying("1"), 1)
    node = deployment.connect(hello())
    deployment.next_update(node)
    applied(deployment, node, "a", "1")
    deployment.set_desired(bundle("a", "2"), 2)
    deployment.next_update(node)
    applied(deployment, node, "a", "2")
    deployment.set_desired(paying("3"), 3)
    assert versions_sent(deployment, node) == ["1"]


async def test_a_node_gets_no_secret_by_saying_what_it_has() -> None:
    """Neither by a version that is unknown here, nor by one that was for other nodes."""
    deployment = Deployment()
    set_pay(deployment, "1")
    deployment.set_desired(paying("1", zone="eu"), 1)
    deployment.set_desired(bundle("a", "2"), 2)
    for digest in ("0", "1"):
        claiming = hello("n1", {"a": digest}, zone="us")
        claiming.secrets.add(name="pay", version="0")
        assert versions_sent(deployment, deployment.connect(claiming)) == []
    assert versions_sent(deployment, deployment.connect(hello("n1", {"a": "1"}, zone="eu"))) == ["1"]


async def test_what_a_node_keeps_of_a_suspended_api_gets_new_values_of_its_secrets() -> None:
    """Also after a restart of the controller, which never had its bundle."""
    deployment = Deployment()
    deployment.set_secret(node_pb2.SecretValues(name="pay", version="2"), 1)
    suspended = unserved("a", "/a", "v1", "no longer valid: …")
    deployment.suspend(replace(suspended, secrets=frozenset(["pay"])), 1)
    node = deployment.connect(hello(bundles={"a": "1"}))
    assert [secret.name for secret in deployment.next_update(node).secrets] == ["pay"]
