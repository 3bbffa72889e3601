"""The state that a new node would be sent now, at the management API and exported to a file or a URL."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import httpx
import pytest
from gatewright_controller._gen import node_pb2
from gatewright_controller.apis.controller import Controller
from gatewright_controller.nodes.node import Node
from gatewright_controller.nodes.states import Export, States
from gatewright_controller.signed_state import authority, make_key, place_mistake, read_head, shown, signing_key, verify
from gatewright_documents.values import JsonObject

from e2e.kit.bucket import Bucket

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]
ADMIN = "the-token-of-the-operator"
SIGNATURE = "signed-by-the-bucket"


@pytest.fixture
def states(controller: Controller, tmp_path: Path) -> States:
    make_key(tmp_path / "key.pem", tmp_path / "key.pub.pem")
    return States(controller.deployment, signing_key(tmp_path / "key.pem"), "gateway-1")


@pytest.fixture
def signing(client_with: Callable[..., httpx.AsyncClient], states: States) -> httpx.AsyncClient:
    """A client of a controller that signs states."""
    return client_with(states=states)


def update_in(document: bytes, tmp_path: Path) -> node_pb2.Update:
    return node_pb2.Update.FromString(verify(document, authority(tmp_path / "key.pub.pem"))[1])


async def test_a_state_has_what_a_new_node_is_sent(
    signing: httpx.AsyncClient,
    controller: Controller,
    connect: Callable[[Controller], Node],
    orders: JsonObject,
    tmp_path: Path,
) -> None:
    await signing.post("/v1/apis", json=orders)
    controller.deployment.set_gateway(node_pb2.Gateway(digest="g", listeners=[b"l"]), 3)
    answer = await signing.get("/v1/state")
    assert answer.status_code == 200
    assert update_in(answer.content, tmp_path) == controller.deployment.next_update(connect(controller))
    head, _ = verify(answer.content, authority(tmp_path / "key.pub.pem"))
    assert (head.controller, head.revision) == ("gateway-1", 3)


async def test_a_client_that_has_the_state_is_sent_none(
    signing: httpx.AsyncClient, controller: Controller, orders: JsonObject, tmp_path: Path
) -> None:
    await signing.post("/v1/apis", json=orders)
    first = (await signing.get("/v1/state")).headers["etag"]
    again = await signing.get("/v1/state", headers={"if-none-match": f'"0-0", {first}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first)
    orders["spec"]["operations"].pop()
    await signing.put("/v1/apis/orders-v1", json=orders)
    changed = await signing.get("/v1/state", headers={"if-none-match": first})
    assert changed.status_code == 200
    (bundle,) = update_in(changed.content, tmp_path).bundles
    controller.deployment.suspend(controller.deployment._desired["orders-v1"].unserved("refused"), 0)
    unwritten = await signing.get("/v1/state", headers={"if-none-match": changed.headers["etag"]})
    assert unwritten.status_code == 200, "it changes without a write, too"
    (without,) = update_in(unwritten.content, tmp_path).bundles
    assert (bundle.unserved, without.unserved) == ("", "refused")


async def test_without_a_key_the_answer_says_how_to_make_one(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/state")
    assert answer.status_code == 404
    assert "make a key with `gatewright state key`, and name its private file" in answer.json()["detail"]
    assert (await client.get("/v1/state/export")).json()["place"] == ""


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    with Bucket() as bucket:
        yield bucket


def url_in(bucket: Bucket) -> str:
    """Of an object, with secrets in it."""
    return f"http://user:{SIGNATURE}@{bucket.address}/states/now?signature={SIGNATURE}"


@contextlib.asynccontextmanager
async def exporting(states: States, controller: Controller, place: str) -> AsyncIterator[Export]:
    export = Export(states, controller.deployment, place, gather=0.05)
    running = asyncio.create_task(export.run())
    yield export
    running.cancel()
    await asyncio.wait([running])


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


async def test_the_state_is_exported_to_a_file_after_changes(
    states: States, controller: Controller, signing: httpx.AsyncClient, orders: JsonObject, tmp_path: Path
) -> None:
    file = tmp_path / "exported" / "state"
    async with exporting(states, controller, str(file)) as export:
        controller.deployment._notify()
        await asyncio.sleep(0.2)
        assert not file.exists(), "a controller without a write replaces no state"
        await signing.post("/v1/apis", json=orders)
        await until(lambda: export.status.revision == controller.deployment.revision)
        assert [bundle.api for bundle in update_in(file.read_bytes(), tmp_path).bundles] == ["orders-v1"]
        assert file.stat().st_mode & 0o777 == 0o600
        for _ in range(3):  # put together
            orders["spec"]["operations"][0]["path"] += "x"
            await signing.put("/v1/apis/orders-v1", json=orders)
        await until(lambda: export.status.revision == controller.deployment.revision)
        assert update_in(file.read_bytes(), tmp_path).revision == controller.deployment.revision


async def test_a_bucket_that_takes_nothing_is_reported_once_and_tried_again(
    states: States,
    controller: Controller,
    signing: httpx.AsyncClient,
    orders: JsonObject,
    bucket: Bucket,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.INFO)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # as in the process: local/logs.py
    monkeypatch.setattr("gatewright_controller.nodes.states.FIRST_PAUSE_SECONDS", 0.05)
    bucket.status = 403
    async with exporting(states, controller, url_in(bucket)) as export:
        await signing.post("/v1/apis", json=orders)
        await until(lambda: export.status.failures > 2)
        assert export.status.revision == 0
        assert export.status.error.endswith("/states/now answered 403 to a PUT: expected 200, 201 or 204")
        bucket.status = 200
        await until(lambda: not export.status.error)
        assert (export.status.revision, export.status.at[:2]) == (controller.deployment.revision, "20")
    assert update_in(bucket.objects["/states/now"], tmp_path).revision == controller.deployment.revision
    messages = [record.message for record in caplog.records]
    assert messages.count("the state is not exported; it is tried again") == 1
    assert messages.count("the state is exported again") == 1
    assert SIGNATURE not in str([vars(record) for record in caplog.records])
    assert SIGNATURE not in str(export.status)


async def test_the_management_api_says_what_becomes_of_the_export(
    states: States,
    controller: Controller,
    client_with: Callable[..., httpx.AsyncClient],
    signing: httpx.AsyncClient,
    orders: JsonObject,
    tmp_path: Path,
) -> None:
    await signing.post("/v1/apis", json=orders)
    (folder := tmp_path / "exported").write_text("no folder")
    async with exporting(states, controller, str(folder / "state")) as export:
        await until(lambda: export.status.failures)
        answer = (await client_with(states=states, export=export).get("/v1/state/export")).json()
    assert (answer["place"], answer["revision"], answer["failures"]) == (str(folder / "state"), 0, 1)
    assert answer["error"].startswith(f"{folder / 'state'} could not be written (")


@pytest.mark.parametrize(
    ("place", "mistake"),
    [
        ("states/now", ""),
        ("https://bucket.example/states/now?signature=x", ""),
        ("", "expected a file or an http(s) URL, got none"),
        ("s3://bucket/now?key=x", "expected a file or an http(s) URL, got s3://bucket/now"),
        ("https://", "expected a file or an http(s) URL, got https://"),
        ("https://bucket.example:x/now", "expected a file or an http(s) URL, got https://bucket.example:x/now"),
    ],
)
async def test_a_place_is_a_file_or_a_url(place: str, mistake: str) -> None:
    assert place_mistake(place) == mistake


async def test_a_url_is_shown_without_what_it_keeps_secret() -> None:
    assert shown("https://me:pass@b.example/a/b?sig=x#y") == "https://b.example/a/b"
    assert shown("folder/a?b") == "folder/a?b"


async def test_a_state_is_for_the_labels_of_nodes(
    signing: httpx.AsyncClient, orders: JsonObject, tmp_path: Path
) -> None:
    for name, nodes in (("eu", {"zone": "eu"}), ("us", {"zone": "us"}), ("all", {})):
        spec = {**orders["spec"], "context": f"/{name}", "nodes": nodes}
        document = {**orders, "metadata": {"name": name}, "spec": spec}
        assert (await signing.post("/v1/apis", json=document)).status_code == 201
    whole, eu = [await signing.get("/v1/state", params=params) for params in ({}, {"label": "zone=eu"})]
    update = update_in(whole.content, tmp_path)
    assert [bundle.api for bundle in update.bundles] == ["all", "eu", "us"]
    assert {api: dict(of.labels) for api, of in update.nodes.items()} == {"eu": {"zone": "eu"}, "us": {"zone": "us"}}
    assert [bundle.api for bundle in update_in(eu.content, tmp_path).bundles] == ["all", "eu"]
    assert whole.headers["etag"] != eu.headers["etag"]
    same = await signing.get("/v1/state", params={"label": ["zone=eu", "tier=a"]})
    assert update_in(same.content, tmp_path) == update_in(eu.content, tmp_path)
    assert same.headers["etag"] != eu.headers["etag"], "their heads differ"
    heads = [read_head(answer.content).labels for answer in (whole, eu, same)]
    assert heads == [None, {"zone": "eu"}, {"tier": "a", "zone": "eu"}]


async def test_a_state_has_the_consumers_with_their_keys(
    signing: httpx.AsyncClient, controller: Controller, tmp_path: Path
) -> None:
    assert not update_in((await signing.get("/v1/state")).content, tmp_path).HasField("consumers")
    for kind, name, spec in (("Plan", "gold", {}), ("Consumer", "acme", {"plan": "gold"})):
        document = {"apiVersion": "gatewright.dev/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}
        assert (await signing.put(f"/v1/{kind.lower()}s/{name}", json=document)).status_code == 201
    before = (await signing.get("/v1/state")).headers["etag"]
    key = (await signing.post("/v1/consumers/acme/keys", json={"name": "ci"})).json()["key"]
    answer = await signing.get("/v1/state?label=zone=eu", headers={"if-none-match": before})
    change = update_in(answer.content, tmp_path).consumers
    (consumer,) = [node_pb2.Consumer.FromString(sent) for shard in change.shards for sent in shard.consumers]
    digest = hashlib.sha256(key.encode()).digest()
    assert (consumer.name, [known.digest for known in consumer.keys]) == ("acme", [digest])
    assert [plan.name for plan in node_pb2.Plans.FromString(change.plans).plans] == ["gold"]
    node = controller.deployment.connect(node_pb2.Hello(node_id="n", consumers=node_pb2.ConsumerVersions()))
    sent = controller.deployment.next_consumers(node)
    assert sent
    assert sorted(shard.number for shard in sent.shards if shard.consumers) == [shard.number for shard in change.shards]
    assert key.encode() not in answer.content


@pytest.mark.parametrize(
    ("query", "status"), [("", 403), ("?label=zone=us", 403), ("?label=zone=eu&label=tier=a", 200)]
)
async def test_a_token_with_labels_has_no_other_nodes_state(
    client_with: Callable[..., httpx.AsyncClient], states: States, query: str, status: int
) -> None:
    client = client_with(token=ADMIN, states=states)
    wanted = {"name": "eu", "role": "node", "labels": {"zone": "eu"}}
    created = await client.post("/v1/tokens", json=wanted, headers={"authorization": f"Bearer {ADMIN}"})
    bearer = {"authorization": f"Bearer {created.json()['token']}"}
    answer = await client.get(f"/v1/state{query}", headers=bearer)
    assert answer.status_code == status
    if status == 403:
        assert "which the token is for" in answer.json()["detail"]
