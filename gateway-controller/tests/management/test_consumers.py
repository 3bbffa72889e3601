"""Consumers, their keys and plans by the management API, and what nodes are sent of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

import httpx
import pytest
from gatewright_controller._gen import node_pb2
from gatewright_controller.apis.controller import Controller
from gatewright_controller.kinds import Keyring, open_kinds
from gatewright_controller.nodes.consumer_index import SHARDS, VERSION_BYTES
from gatewright_controller.nodes.node import Node
from gatewright_controller.store import Store
from gatewright_documents.values import JsonObject

from .test_tokens import create

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]
ACME = "/v1/consumers/acme"
CERTIFICATE = "ab" * 32


def consumer(name: str = "acme", team: str = "a", **spec: object) -> JsonObject:
    metadata = {"name": name, "labels": {"team": team}}
    return {"apiVersion": "gatewright.dev/v1", "kind": "Consumer", "metadata": metadata, "spec": spec}


def plan(name: str = "gold", requests: int = 5, **metadata: object) -> JsonObject:
    return {
        "apiVersion": "gatewright.dev/v1",
        "kind": "Plan",
        "metadata": {"name": name, **metadata},
        "spec": {"limits": [{"requests": requests, "per": "1m"}], "quotas": [{"requests": 9, "period": "day"}]},
    }


async def put(client: httpx.AsyncClient, document: JsonObject, **request: object) -> httpx.Response:
    path = f"/v1/{document['kind'].lower()}s/{document['metadata']['name']}"
    return await client.put(path, json=document, **request)  # type: ignore[arg-type]


async def key_of(client: httpx.AsyncClient, name: str = "ci", path: str = ACME, **wanted: object) -> str:
    made = await client.post(f"{path}/keys", json={"name": name, **wanted})
    assert made.status_code == 201, made.text
    text: str = made.json()["key"]
    return text


def applied(*documents: JsonObject, **intent: object) -> JsonObject:
    sources = [{"file": f"{document['metadata']['name']}.json", "text": json.dumps(document)} for document in documents]
    return {"sources": sources, **intent}


def mistakes(answer: httpx.Response) -> str:
    return " | ".join(f"{error['field']}: {error['message']}" for error in answer.json()["errors"])


class AtNode:
    """What a node has, by applying what it is sent as an engine does."""

    def __init__(
        self, controller: Controller, versions: bytes = bytes(SHARDS * VERSION_BYTES), plans: bytes = b""
    ) -> None:
        hello = node_pb2.Hello(node_id="n1", consumers=node_pb2.ConsumerVersions(shards=versions, plans=plans))
        self._deployment = controller.deployment
        self.node: Node = controller.deployment.connect(hello)
        self.consumers: dict[str, node_pb2.Consumer] = {}
        self.plans: dict[str, node_pb2.Plan] = {}
        self.sent: list[node_pb2.ConsumerChange] = []

    def receive(self) -> AtNode:
        while change := self._deployment.next_consumers(self.node):
            self.sent.append(change)
            for encoded in (*change.consumers, *(consumer for shard in change.shards for consumer in shard.consumers)):
                found = node_pb2.Consumer.FromString(encoded)
                self.consumers[found.name] = found
            for name in change.removed:
                self.consumers.pop(name, None)
            if change.plans:
                self.plans = {found.name: found for found in node_pb2.Plans.FromString(change.plans).plans}
        return self

    def digests(self, name: str) -> set[str]:
        return {key.digest.hex() for key in self.consumers[name].keys}


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


async def test_a_key_is_shown_once_and_kept_as_a_digest(
    client: httpx.AsyncClient,
    store: Store,
    sqlite_connection: Callable[[Store], object],
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert (await put(client, consumer())).status_code == 201
    made = await client.post(f"{ACME}/keys", json={"name": "ci", "days": 2})
    answer = made.json()
    text = answer.pop("key")
    assert (made.status_code, made.headers["cache-control"]) == (201, "no-store")
    assert text.startswith("gwk_")
    assert len(text) > 40
    assert answer["sha256"] == digest(text)
    assert answer["expiresAt"] > answer["createdAt"]
    assert (await client.get(f"{ACME}/keys")).json() == {"keys": [answer]}
    assert (await client.get(ACME)).json()["status"]["keys"] == 1
    audit = (await client.get("/v1/audit", params={"changes": "true"})).text
    assert "acme/ci" in audit
    dump = "\n".join(sqlite_connection(store).iterdump())  # type: ignore[attr-defined]
    for place in (dump, audit, caplog.text, (await client.get(f"{ACME}/revisions")).text):
        assert text not in place
    assert "acme/ci" not in (await client.get(f"{ACME}/revisions")).text
    assert (await client.post(f"{ACME}/keys", json={"name": "ci"})).status_code == 409
    assert (await client.post("/v1/consumers/none/keys", json={"name": "ci"})).status_code == 404
    refused = await client.post(f"{ACME}/keys", json={"name": "No!", "days": 0})
    assert refused.status_code == 422
    assert (await client.delete(f"{ACME}/keys/ci")).status_code == 204
    assert (await client.delete(f"{ACME}/keys/ci")).status_code == 404
    assert (await client.get(f"{ACME}/keys")).json() == {"keys": []}


async def test_nodes_get_keys_and_changes_as_a_delta(client: httpx.AsyncClient, controller: Controller) -> None:
    node = AtNode(controller).receive()
    await put(client, plan())
    await put(client, consumer(plan="gold", jwt=[{"issuer": "https://id", "subject": "7"}]))
    first = await key_of(client, "one")
    node.receive()
    assert node.digests("acme") == {digest(first)}
    assert (node.consumers["acme"].plan, dict(node.consumers["acme"].labels)) == ("gold", {"team": "a"})
    assert node.consumers["acme"].claims[0].subject == "7"
    assert json.loads(node.plans["gold"].limits) == [{"requests": 5, "per": "1m"}]
    assert json.loads(node.plans["gold"].quotas) == [{"requests": 9, "period": "day"}]
    two = await key_of(client, "two")
    node.sent.clear()
    node.receive()
    assert [(len(change.shards), len(change.consumers), change.plans) for change in node.sent] == [(0, 1, b"")]
    await put(client, consumer(team="b", plan="gold"))
    assert node.receive().digests("acme") == {digest(first), digest(two)}
    await client.delete(f"{ACME}/keys/one")
    assert node.receive().digests("acme") == {digest(two)}
    await client.delete(ACME)
    assert not node.receive().consumers
    await put(client, consumer())
    assert node.receive().digests("acme") == set(), "keys went with the consumer"


async def test_a_node_that_was_away_is_sent_the_shards_in_which_it_differs(
    client: httpx.AsyncClient, controller: Controller
) -> None:
    for number in range(50):
        await put(client, consumer(f"c{number}"))
    versions = AtNode(controller)
    index = controller.deployment.consumers
    had = b"".join(version.to_bytes(VERSION_BYTES) for version in index._versions)
    assert len(versions.receive().consumers) == 50
    assert AtNode(controller, had).receive().sent == []
    await key_of(client, path="/v1/consumers/c7")
    back = AtNode(controller, had).receive()
    assert "c7" in back.consumers
    assert sum(len(change.shards) for change in back.sent) == 1
    assert len(AtNode(controller, bytes(8)).receive().consumers) == 50, "unknown: all"


async def test_a_controller_that_starts_has_what_is_stored(
    client: httpx.AsyncClient, controller: Controller, store: Store
) -> None:
    await put(client, plan())
    await put(client, consumer(plan="gold"))
    text = await key_of(client, days=30)
    again = Controller(store, lambda: controller.definitions, controller._edge)
    open_kinds(again, Keyring()).load()
    node = AtNode(again).receive()
    assert node.digests("acme") == {digest(text)}
    assert node.consumers["acme"].keys[0].expires > 0
    assert again.deployment.consumers._versions == controller.deployment.consumers._versions
    assert set(node.plans) == {"gold"}


async def test_a_plan_is_there_while_consumers_have_it(client: httpx.AsyncClient) -> None:
    assert "spec.plan: expected a Plan that there is, for acme, got 'gold'" in mistakes(
        await put(client, consumer(plan="gold"))
    )
    await put(client, plan())
    assert (await put(client, consumer(plan="gold"))).status_code == 201
    assert (await client.get("/v1/plans/gold")).json()["status"]["consumers"] == 1
    refused = await client.delete("/v1/plans/gold")
    assert (refused.status_code, "got acme" in mistakes(refused)) == (422, True)
    await put(client, consumer())
    assert (await client.delete("/v1/plans/gold")).status_code == 204
    twice = plan()
    twice["spec"]["quotas"] *= 2
    assert "spec.quotas[1].period" in mistakes(await put(client, twice))


async def test_what_a_consumer_is_known_by_is_its_own(client: httpx.AsyncClient) -> None:
    known: JsonObject = {"jwt": [{"issuer": "https://id", "subject": "7"}], "certificates": [{"sha256": CERTIFICATE}]}
    assert (await put(client, consumer(**known))).status_code == 201
    assert (await put(client, consumer(**known))).status_code == 200
    found = mistakes(await put(client, consumer("other", **known)))
    assert "the JWT subject '7' of https://id, which acme has too" in found
    assert f"the certificate {CERTIFICATE}, which acme has too" in found
    signs: JsonObject = {"jwt": [{"issuer": "https://id"}]}
    assert (await put(client, consumer("signer", **signs))).status_code == 201, "the issuer's other subjects"
    assert "all JWTs of https://id, which signer has too" in mistakes(await put(client, consumer("other", **signs)))
    both = await client.post(
        "/v1/apply",
        json=applied(
            consumer("x", jwt=[{"issuer": "i", "subject": "s"}]), consumer("y", jwt=[{"issuer": "i", "subject": "s"}])
        ),
    )
    assert (both.status_code, "which x has too" in mistakes(both)) == (422, True)
    moved = await client.post("/v1/apply", json=applied(consumer(), consumer("other", **known)))
    assert moved.status_code == 200, moved.text


async def test_a_set_is_applied_whole_and_leaves_keys_alone(client: httpx.AsyncClient) -> None:
    documents = plan(), consumer(plan="gold")
    assert (await client.post("/v1/apply", json=applied(*documents, owner="o"))).status_code == 200
    text = await key_of(client)
    again = await client.post("/v1/apply", json=applied(*documents, owner="o"))
    assert again.json()["changes"] == []
    planned = await client.post("/v1/plan", json=applied(plan(requests=6), consumer(plan="gold"), owner="o"))
    assert "1 consumer has other limits" in planned.text
    assert text not in planned.text
    assert digest(text) not in planned.text
    pruned = await client.post("/v1/apply", json=applied(consumer(plan="gold"), owner="o", prune=True))
    assert (pruned.status_code, "no consumer with the plan gold" in mistakes(pruned)) == (422, True)
    assert len((await client.get(f"{ACME}/keys")).json()["keys"]) == 1
    gone = await client.post("/v1/apply", json=applied(plan("other"), owner="o", prune=True))
    assert gone.status_code == 200, gone.text
    assert (await client.get(ACME)).status_code == 404
    back = await client.post(f"{ACME}/rollback", json={"revision": 0})
    assert back.status_code in (404, 422), "its plan is gone too"


async def test_a_bound_publisher_makes_keys_of_its_own_consumers_alone(client: httpx.AsyncClient) -> None:
    for team in ("a", "b"):
        await put(client, consumer(team, team))
    headers = await create(client, "team-a", "publisher", labels={"team": "a"})
    assert (await client.post("/v1/consumers/a/keys", json={"name": "k"}, headers=headers)).status_code == 201
    for path in ("/v1/consumers/b/keys", "/v1/consumers/b"):
        assert (await client.get(path, headers=headers)).status_code == 403
    assert (await client.post("/v1/consumers/b/keys", json={"name": "k"}, headers=headers)).status_code == 403
    await key_of(client, path="/v1/consumers/b")
    assert (await client.delete("/v1/consumers/b/keys/ci", headers=headers)).status_code == 403
    assert [
        found["metadata"]["name"] for found in (await client.get("/v1/consumers", headers=headers)).json()["consumers"]
    ] == ["a"]


async def test_a_plan_lists_its_consumers(client: httpx.AsyncClient) -> None:
    await put(client, plan())
    for name in ("acme", "beta"):
        await put(client, consumer(name, team=name, plan="gold"))
    await put(client, consumer("gamma"))
    users = (await client.get("/v1/plans/gold/users")).json()["users"]
    assert users == [{"kind": "Consumer", "name": "acme"}, {"kind": "Consumer", "name": "beta"}]
    bound = await create(client, "bound", "publisher", names=["beta", "gold"])
    answer = await client.get("/v1/plans/gold/users", headers=bound)
    assert answer.json() == {"users": [{"kind": "Consumer", "name": "beta"}]}
    assert (await client.get(f"{ACME}/users")).json() == {"users": []}


OLD = "planted-old-key-of-a-client-7f3e0a5c9d1b"
"""A key that a client has from elsewhere."""


async def test_a_key_that_a_client_has_already_keeps_working(
    client: httpx.AsyncClient,
    controller: Controller,
    store: Store,
    sqlite_connection: Callable[[Store], object],
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name in ("acme", "beta"):
        await put(client, consumer(name))
    end = "2999-01-01T00:00:00Z"
    made = await client.post(f"{ACME}/keys", json={"name": "old", "key": OLD, "expiresAt": end})
    assert (made.status_code, "key" in made.json(), made.json()["sha256"]) == (201, False, digest(OLD))
    assert made.json()["expiresAt"].startswith("2999-01-01T00:00:00")
    node = AtNode(controller).receive()
    assert node.digests("acme") == {digest(OLD)}
    second = await client.post("/v1/consumers/beta/keys", json={"name": "k", "key": OLD})
    own = await client.post(f"{ACME}/keys", json={"name": "again", "key": OLD})
    for refused in (second, own):
        assert (refused.status_code, "this key is in use already" in refused.text) == (409, True)
        assert "acme" not in refused.text
    assert node.receive().digests("acme") == {digest(OLD)}
    assert (await client.get("/v1/consumers/beta/keys")).json() == {"keys": []}
    shown = [answer.text for answer in (made, second, own, await client.get(f"{ACME}/keys"))]
    shown += [(await client.get(path)).text for path in ("/v1/audit", f"{ACME}/revisions", "/v1/consumers")]
    shown += [caplog.text, *sqlite_connection(store).iterdump()]  # type: ignore[attr-defined]
    assert [text for text in shown if OLD in text] == []
    await client.delete(f"{ACME}/keys/old")
    assert (await client.post("/v1/consumers/beta/keys", json={"name": "k", "key": OLD})).status_code == 201


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"key": OLD[:21]}, "key: expected 22 to 4096 printable ASCII characters without spaces"),
        ({"key": f"{OLD} x"}, "key: expected 22 to 4096"),
        ({"key": f"{OLD}\n"}, "key: expected 22 to 4096"),
        ({"key": f"{OLD}ü"}, "key: expected 22 to 4096"),
        ({"key": [OLD]}, "key: expected"),
        ({"Key": OLD}, "Key: "),
        ({"key": OLD, "expiresAt": "2020-01-01T00:00:00Z"}, "expiresAt: expected a time to come"),
        ({"key": OLD, "expiresAt": "2999-02-30T00:00:00Z"}, "expiresAt: expected a time that there is"),
        ({"key": OLD, "expiresAt": "soon"}, "expiresAt: expected a time like 2027-01-01T00:00:00Z"),
        ({"key": OLD, "expiresAt": "2999-01-01T00:00:00Z", "days": 3}, "expiresAt: expected days or expiresAt"),
    ],
)
async def test_a_refused_key_is_in_no_message(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture, wanted: JsonObject, expected: str
) -> None:
    await put(client, consumer())
    refused = await client.post(f"{ACME}/keys", json={"name": "old", **wanted})
    assert (refused.status_code, expected in mistakes(refused)) == (422, True), refused.text
    broken = await client.post(f"{ACME}/keys", content=f'{{"name": "old", "key": "{OLD}" "x"}}')
    assert broken.status_code == 400
    audit = (await client.get("/v1/audit")).text
    assert [text for text in (refused.text, broken.text, audit, caplog.text) if OLD[:21] in text] == []
