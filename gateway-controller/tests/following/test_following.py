"""Two controllers of one PostgreSQL: each hands out what the other has written, and no write is lost."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
from collections.abc import Callable

import msgspec
import psycopg
import pytest
from gatewright_controller._gen import node_pb2
from gatewright_controller.apis.api_source import ApiSource
from gatewright_controller.apis.controller import Controller
from gatewright_controller.following import Following
from gatewright_controller.gateway.gateways import Gateways
from gatewright_controller.kinds import Keyring, open_kinds
from gatewright_controller.model import Api, from_document
from gatewright_controller.nodes.node import Node
from gatewright_controller.plans import Intent, Plans
from gatewright_controller.resource.definitions import Definitions
from gatewright_controller.resource.versions import Versions, newest_versions
from gatewright_controller.store import (
    ANY_TERMS,
    API,
    Batch,
    OtherRevisionError,
    StoredApi,
    Terms,
    WrittenBatch,
)
from gatewright_controller.store.sql_store import SqlStore
from gatewright_controller.translate import EdgeSettings
from gatewright_documents.mistake import Invalid
from gatewright_documents.secret_masks import MASK
from gatewright_documents.values import JsonObject

from .sides import KEY, Side, consumer, defaults, named

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]
CHANGES = int(os.environ.get("CHANGES_OF_A_WRITER", "12"))
"""200 in the run that the issue of the time asked for."""
WRITERS, NAMES = 8, 20


def keyed(document: JsonObject, secret: str) -> JsonObject:
    document["spec"]["policies"] = [{"name": "keyed", "version": "v1", "params": {"password": secret}}]
    return document


async def test_what_one_writes_the_others_nodes_get(sides: tuple[Side, Side], orders: JsonObject) -> None:
    here, there = sides
    await here.controller.create(named(orders, "a"))
    await there.until(lambda: "a" in there.controller.deployment.apis)
    assert there.at_the_node() == here.at_the_node()
    await there.controller.replace(named(orders, "a", "/changed"))
    revision = there.store.get("a").revision
    await here.until(lambda: here.controller.deployment.revision_of("a") == revision)
    assert there.at_the_node() == here.at_the_node()
    await here.controller.delete("a")
    await there.until(lambda: there.controller.deployment.apis == set())
    assert there.at_the_node() == {}


async def test_the_values_of_a_secret_that_one_has_written_are_sent_by_the_other(
    sides: tuple[Side, Side], orders: JsonObject
) -> None:
    here, there = sides
    await here.kinds["Secret"].put(secret("first"))
    document = named(orders, "a")
    document["spec"]["policies"] = [{"name": "sealed", "version": "v1", "params": {"key": {"secretRef": "pay/key"}}}]
    await here.controller.create(document)
    await there.until(lambda: "a" in there.controller.deployment.apis)
    sent = [dict(values.values) for values in there.controller.deployment.next_update(there.node).secrets]
    assert sent == [{"key": "first"}]
    await here.kinds["Secret"].put(secret("second"))
    await there.until(lambda: there.store.revision <= there.controller.deployment.revision)
    sent = [dict(values.values) for values in there.controller.deployment.next_update(there.node).secrets]
    assert sent == [{"key": "second"}]


def secret(value: str) -> JsonObject:
    return {
        "apiVersion": "gatewright.dev/v1",
        "kind": "Secret",
        "metadata": {"name": "pay"},
        "spec": {"values": {"key": value}},
    }


async def test_keys_of_a_consumer_that_one_has_made_are_sent_by_the_other(sides: tuple[Side, Side]) -> None:
    here, there = sides
    hello = node_pb2.Hello(node_id="takes", consumers=node_pb2.ConsumerVersions())
    node = there.controller.deployment.connect(hello)

    async def sent() -> list[list[str]]:
        await there.until(lambda: there.store.revision <= there.controller.deployment.revision)
        keys = []
        while change := there.controller.deployment.next_consumers(node):
            consumers = map(node_pb2.Consumer.FromString, change.consumers)
            keys += [[key.digest.hex() for key in consumer.keys] for consumer in consumers]
            keys += [["gone"] for _ in change.removed]
        return keys

    await sent()
    await here.kinds["Consumer"].put(consumer("acme"))
    assert await sent() == [[]]
    text, key = await here.kinds.consumer_keys.create("acme", "ci", "", ANY_TERMS)
    assert key.digest == hashlib.sha256(text.encode()).hexdigest()
    assert await sent() == [[key.digest]]
    assert here.controller.deployment.consumers.get("acme") == there.controller.deployment.consumers.get("acme")
    await there.kinds.consumer_keys.delete("acme", "ci", ANY_TERMS)
    assert await sent() == [[]]
    await here.until(lambda: not (found := here.controller.deployment.consumers.get("acme")) or not found.keys)
    await here.kinds["Consumer"].delete("acme")
    assert await sent() == [["gone"]]


async def test_the_defaults_that_one_has_written_reach_the_others_apis_together(
    sides: tuple[Side, Side], orders: JsonObject
) -> None:
    here, there = sides
    for name in ("a", "b"):
        await here.controller.create(named(orders, name))
    await there.until(lambda: there.controller.deployment.apis == {"a", "b"})
    before = there.at_the_node()
    await here.kinds["Defaults"].put(defaults("first"))
    await there.until(lambda: there.store.revision <= there.controller.deployment.revision)
    update = there.controller.deployment.next_update(there.node)
    assert [bundle.api for bundle in update.bundles] == ["a", "b"]
    guarded = there.at_the_node()
    assert guarded == here.at_the_node()
    assert guarded.keys() == before.keys()
    assert all(guarded[name] != before[name] for name in before)
    sent: list[node_pb2.ApiBundle] = []
    receiving = asyncio.create_task(_receive(there, sent))
    other = ApiSource("second.json", json.dumps(defaults("second")).encode())
    await here.kinds["Defaults"].put(defaults("first"), Terms(owner="team"))
    await Plans(here.controller, here.gateways, here.kinds).apply([other], Intent("team", prune=True))
    await there.until(lambda: there.store.revision <= there.controller.deployment.revision)
    receiving.cancel()
    policies = {chain.attachments[0].policy_name for bundle in sent for chain in bundle.chains}
    assert policies <= {"guard"}, "no node runs an API without either in between"
    assert list(there.controller.defaults) == ["second"]
    assert there.at_the_node() == here.at_the_node()
    await here.kinds["Defaults"].delete("second")
    await there.until(lambda: there.store.revision <= there.controller.deployment.revision)
    assert there.at_the_node() == here.at_the_node() == before


async def test_a_namespace_that_one_has_written_is_asked_by_the_other(
    sides: tuple[Side, Side], orders: JsonObject
) -> None:
    here, there = sides
    namespace = {
        "apiVersion": "gatewright.dev/v1",
        "kind": "Namespace",
        "metadata": {"name": "payments"},
        "spec": {"labels": {"team": "payments"}, "contexts": ["/payments"]},
    }
    await here.kinds["Namespace"].put(namespace)
    await there.until(lambda: there.store.revision <= there.controller.deployment.revision)
    with pytest.raises(Invalid, match="the Namespace payments wants"):
        await there.controller.create(named(orders, "a", "/payments"))
    await here.kinds["Namespace"].delete("payments")
    await there.until(lambda: there.store.revision <= there.controller.deployment.revision)
    await there.controller.create(named(orders, "a", "/payments"))


async def _receive(side: Side, sent: list[node_pb2.ApiBundle]) -> None:
    """As a node does: all that is sent, as soon as it is."""
    while True:
        await side.controller.deployment.wait_for_change()
        sent += side.controller.deployment.next_update(side.node).bundles


async def test_a_context_that_passes_on_stays_until_its_successor_is_there(
    sides: tuple[Side, Side], orders: JsonObject
) -> None:
    here, there = sides
    await here.controller.create(named(orders, "old", "/here"))
    await there.until(lambda: "old" in there.controller.deployment.apis)
    there.at_the_node()
    there.node.applied["old"] = there.node.sent["old"]
    new = ApiSource("new.json", json.dumps(named(orders, "new", "/here")).encode())
    owned = await here.controller.replace(named(orders, "old", "/here"), Terms(owner="team"))
    assert owned.owner == "team"
    await Plans(here.controller, here.gateways, here.kinds).apply([new], Intent("team", prune=True))
    await there.until(lambda: "new" in there.controller.deployment.apis)
    update = there.controller.deployment.next_update(there.node)
    assert ([bundle.api for bundle in update.bundles], [*update.removed_apis]) == (["new"], [])


async def test_the_gateway_is_followed_too(sides: tuple[Side, Side]) -> None:
    here, there = sides
    listening = {"listeners": [{"name": "http", "port": 8080}]}
    await here.gateways.replace({"apiVersion": "gatewright.dev/v1", "kind": "Gateway", "spec": listening})
    await there.until(lambda: there.gateways.names() is not None)
    assert there.gateways.current.document == here.gateways.current.document
    await there.gateways.delete()
    await here.until(lambda: here.gateways.names() is None)


async def test_writes_during_a_lost_connection_are_caught_up_with(
    sides: tuple[Side, Side], url: str, orders: JsonObject
) -> None:
    here, there = sides
    await here.controller.create(named(orders, "before"))
    await there.until(lambda: "before" in there.controller.deployment.apis)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' OR query LIKE 'NOTIFY%'"
        )
    await here.controller.create(named(orders, "after"))
    await there.until(lambda: "after" in there.controller.deployment.apis)


async def test_writes_that_a_promoted_standby_lacks_are_taken_back(
    sides: tuple[Side, Side],
    url: str,
    orders: JsonObject,
    definitions: Definitions,
    connect: Callable[[Controller], Node],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Their numbers are given to others: `a` is at nodes as a write left it that the database does not have."""
    here, there = sides
    await here.controller.create(named(orders, "a"))
    await here.kinds["Consumer"].put(consumer("acme"))
    kept = there.store.revision
    await here.kinds.consumer_keys.create("acme", "lost", "", ANY_TERMS)
    await here.kinds["Consumer"].put(consumer("lost"))
    await here.controller.replace(named(orders, "a", "/changed"))
    await here.controller.create(named(orders, "lost"))
    await here.kinds["Secret"].put(secret("lost"))
    for side in sides:
        await side.until(lambda side=side: side.controller.deployment.revision == here.store.revision)  # type: ignore[misc]
        assert [*side.controller.deployment.secrets.names] == ["pay"]
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("UPDATE resources SET document = replace(document, '/changed', '/a') WHERE name = 'a'")
        connection.execute("DELETE FROM resources WHERE name IN ('lost', 'pay')")
        connection.execute("DELETE FROM claims")
        connection.execute("DELETE FROM consumer_keys")
        connection.execute("DELETE FROM consumer_key_changes")
        connection.execute("DELETE FROM history WHERE revision > %s", (kept,))
        connection.execute("UPDATE revision SET value = %s", (kept,))
        connection.execute("NOTIFY gatewright_written")
    for side in sides:
        await side.until(lambda side=side: "lost" not in side.controller.deployment.apis)  # type: ignore[misc]
        await side.following.catch_up()
        assert not side.controller.deployment.secrets.names, "a Secret that the database lacks goes too"
        fresh = Controller(side.store, lambda: definitions, EdgeSettings())
        fresh.load()
        restarted = Side(fresh, side.gateways, side.kinds, side.following, connect(fresh))
        assert side.at_the_node() == restarted.at_the_node()
        consumers = side.controller.deployment.consumers
        assert set(consumers.names) == {"acme"}
        assert (acme := consumers.get("acme"))
        assert not acme.keys
    assert sum("lacks writes" in record.message for record in caplog.records) == len(sides)
    await here.controller.create(named(orders, "new"))
    await there.until(lambda: "new" in there.controller.deployment.apis)


async def test_a_context_that_another_controller_takes_during_an_apply_is_a_conflict(
    sides: tuple[Side, Side], orders: JsonObject, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = sides
    write_batch = SqlStore.write_batch

    def write_later(store: SqlStore, batch: Batch, terms: Terms) -> WrittenBatch:
        monkeypatch.setattr(SqlStore, "write_batch", write_batch)
        first = from_document(named(orders, "first", "/shop"))
        there.store.create(first, newest_versions(first, there.controller.definitions))
        return write_batch(store, batch, terms)

    monkeypatch.setattr(SqlStore, "write_batch", write_later)
    source = ApiSource("second.json", json.dumps(named(orders, "second", "/shop")).encode())
    with pytest.raises(Invalid, match="'/shop', which first has"):
        await Plans(here.controller, here.gateways, here.kinds).apply([source], Intent())


async def test_a_deletion_by_another_controller_during_an_apply_is_planned_anew(
    sides: tuple[Side, Side], orders: JsonObject, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = sides
    await here.controller.create(named(orders, "gone"), Terms(owner="team"))
    write_batch = SqlStore.write_batch

    def write_later(store: SqlStore, batch: Batch, terms: Terms) -> WrittenBatch:
        monkeypatch.setattr(SqlStore, "write_batch", write_batch)
        there.store.delete("gone")
        return write_batch(store, batch, terms)

    monkeypatch.setattr(SqlStore, "write_batch", write_later)
    source = ApiSource("kept.json", json.dumps(named(orders, "kept")).encode())
    done = await Plans(here.controller, here.gateways, here.kinds).apply([source], Intent("team", prune=True))
    assert [(change.action, change.name) for change in done.changes] == [("add", "kept")]


async def test_what_is_written_while_a_controller_loads_is_followed(
    sides: tuple[Side, Side], definitions: Definitions, orders: JsonObject
) -> None:
    """The API has the newer revision, and the Secret was written once Secrets were loaded."""
    here, _ = sides
    loading = Controller(here.store, lambda: definitions, EdgeSettings())
    kinds, gateways = open_kinds(loading, Keyring(KEY)), Gateways(here.store, loading.deployment, None)
    following = Following(loading, gateways, kinds)
    kinds.load()
    await here.kinds["Secret"].put(secret("first"))
    await here.controller.create(named(orders, "a"))
    loading.load()
    await following.catch_up()
    assert [*loading.deployment.secrets.names] == ["pay"]


async def test_an_api_goes_though_what_it_was_is_pruned(
    sides: tuple[Side, Side], definitions: Definitions, orders: JsonObject, url: str
) -> None:
    here, _ = sides
    await here.controller.create(named(orders, "a"))
    late = Controller(here.store, lambda: definitions, EdgeSettings())
    kinds, gateways = open_kinds(late, Keyring(KEY)), Gateways(here.store, late.deployment, None)
    following = Following(late, gateways, kinds)
    late.load()
    await here.controller.delete("a")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DELETE FROM history WHERE name = 'a' AND action = 'created'")
    await following.catch_up()
    assert late.deployment.apis == set()


async def test_an_update_of_what_another_controller_has_changed_is_refused(
    sides: tuple[Side, Side], orders: JsonObject
) -> None:
    here, there = sides
    seen = await here.controller.create(named(orders, "a"))
    await here.controller.replace(named(orders, "a", "/one"))
    with pytest.raises(OtherRevisionError):
        await there.controller.replace(named(orders, "a", "/other"), Terms(expected=frozenset([seen.revision])))
    assert here.store.get("a").api.spec.context == "/one"


async def test_a_mask_stands_for_the_secret_that_another_controller_has_just_written(
    sides: tuple[Side, Side], orders: JsonObject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The write of the other one comes between the reading of what is stored and the write."""
    here, there = sides
    first = await here.controller.create(keyed(named(orders, "a"), "first"))
    between = [msgspec.structs.replace(first.api, spec=from_document(keyed(named(orders, "a"), "second")).spec)]

    def replace_late(api: Api, versions: Versions, terms: Terms) -> StoredApi:
        while between:
            here.store.replace(between.pop(), versions)
        return SqlStore.replace(there.store, api, versions, terms)  # type: ignore[arg-type]

    monkeypatch.setattr(there.store, "replace", replace_late)
    await there.controller.replace(keyed(named(orders, "a", "/changed"), MASK))
    stored = here.store.get("a").api.spec
    assert (stored.context, stored.policies[0].params) == ("/changed", {"password": "second"})


async def test_writers_at_both_lose_no_update(
    sides: tuple[Side, Side], orders: JsonObject, definitions: Definitions, connect: Callable[[Controller], Node]
) -> None:
    """Each writer reads, changes and writes with the revision that it has read; half of them also without."""
    names = [f"api-{number}" for number in range(NAMES)]
    for name in names:
        await sides[0].controller.create(named(orders, name))
    acknowledged: list[tuple[str, int]] = []
    refused = 0

    async def write(writer: int) -> None:
        nonlocal refused
        chance, side = random.Random(writer), sides[writer % 2]  # noqa: S311 - no secret
        for number in range(CHANGES):
            name = chance.choice(names)
            seen = await side.controller.get(name)
            document = named(orders, name, f"/{name}/w{writer}n{number}")
            terms = Terms(expected=frozenset([seen.revision])) if writer < WRITERS // 2 else Terms()
            try:
                stored = await side.controller.replace(document, terms)
                acknowledged.append((name, stored.revision))
            except OtherRevisionError:
                refused += 1

    await asyncio.gather(*map(write, range(WRITERS)))
    store = sides[0].store
    assert len(acknowledged) + refused == WRITERS * CHANGES
    written = {(name, entry.revision) for name in names for entry in store.history(API, name, limit=10_000)}
    assert written == {*acknowledged} | {(name, number) for number, name in enumerate(names, start=1)}
    newest = max(revision for _, revision in acknowledged)
    fresh = Controller(store, lambda: definitions, EdgeSettings())
    fresh.load()
    expected = Side(fresh, sides[0].gateways, sides[0].kinds, sides[0].following, connect(fresh)).at_the_node()
    for side in sides:
        await side.until(lambda side=side: side.controller.deployment.revision >= newest)  # type: ignore[misc]
        await side.following.catch_up()
        assert side.at_the_node() == expected
