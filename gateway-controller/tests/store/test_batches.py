"""Several writes in one transaction, in both databases."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from gatewright_controller.store import (
    API,
    GATEWAY,
    THE_GATEWAY,
    Author,
    Batch,
    ContextTakenError,
    NoSuchApiError,
    OtherOwnerError,
    Store,
    Terms,
    WrittenBatch,
    open_store,
)
from gatewright_documents.values import JsonObject

from .apis import api

TEAM = Terms(Author("token", "192.0.2.7", "a release"), "team-a")


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    store = open_store(database)
    store.write_batch(Batch([(api("a", "/a"), ()), (api("b", "/b"), ()), (api("c", "/c"), ())]), TEAM)
    yield store
    store.close()


def contexts(store: Store) -> dict[str, str]:
    return {stored.name: stored.context for stored in store.list()}


def test_contexts_are_swapped_renamed_and_freed_with_one_revision(store: Store) -> None:
    apis = [(api("a", "/b"), ()), (api("b", "/a"), ()), (api("d", "/c"), ()), (api("e", "/e"), ())]
    created = store.get("c").created_at
    assert store.write_batch(Batch(apis, {"d": "c"}), TEAM).revision == 2
    assert contexts(store) == {"a": "/b", "b": "/a", "d": "/c", "e": "/e"}
    assert {stored.revision for stored in store.list()} == {2}
    assert {stored.owner for stored in store.list()} == {"team-a"}
    assert {claim.context: name for claim, name in store.claims().items()} == {
        "/b": "a",
        "/a": "b",
        "/c": "d",
        "/e": "e",
    }
    assert store.get("d").created_at == created
    assert [(entry.action, entry.counterpart) for entry in store.history(API, "c")] == [
        ("renamed", "d@2"),
        ("created", ""),
    ]
    (entry,) = store.history(API, "d")
    assert (entry.action, entry.counterpart, entry.author) == ("renamed", "c@1", TEAM.author)


def test_what_is_deleted_frees_its_context_for_another(store: Store) -> None:
    assert store.write_batch(Batch([(api("new", "/a"), ())], deleted=["a", "b"]), TEAM).revision == 2
    assert contexts(store) == {"c": "/c", "new": "/a"}
    assert [entry.action for entry in store.history(API, "a")] == ["deleted", "created"]


@pytest.mark.parametrize(
    ("batch", "error"),
    [
        (Batch([(api("a", "/new"), ()), (api("d", "/c"), ())]), ContextTakenError),
        (Batch([(api("a", "/new"), ())], deleted=["nowhere"]), NoSuchApiError),
        (Batch([(api("d", "/c"), ())], {"d": "nowhere"}), NoSuchApiError),
    ],
)
def test_all_of_a_batch_is_written_or_nothing(store: Store, batch: Batch, error: type[Exception]) -> None:
    before = store.list()
    with pytest.raises(error):
        store.write_batch(batch, TEAM)
    assert (store.list(), store.revision) == (before, 1)
    assert len(store.history(API, "a")) == 1


@pytest.mark.parametrize("batch", [Batch([(api("a", "/new"), ())]), Batch(deleted=["a"])])
def test_another_owners_api_keeps_a_batch_out(store: Store, batch: Batch) -> None:
    with pytest.raises(OtherOwnerError):
        store.write_batch(batch, Terms(owner="team-b"))
    assert store.revision == 1
    assert store.write_batch(batch, Terms(owner="team-b", take_over=True)).revision == 2


def test_the_gateway_is_written_and_deleted_with_apis(store: Store) -> None:
    document: JsonObject = {"spec": {"listeners": []}}
    written = store.write_batch(Batch([(api("d", "/d"), ())], gateway=document), TEAM)
    stored = written.gateway
    assert stored
    assert (written.revision, store.gateway()) == (2, stored)
    assert (stored.document, stored.revision, stored.owner) == (document, 2, "team-a")
    assert store.write_batch(Batch(deletes_gateway=True), TEAM) == WrittenBatch(3)
    assert store.gateway() is None
    assert [entry.action for entry in store.history(GATEWAY, THE_GATEWAY)] == ["deleted", "created"]
