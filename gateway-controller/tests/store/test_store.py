"""What a store keeps and refuses, in both databases."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest
from gatewright_controller.model import from_document
from gatewright_controller.resource.claims import Claim
from gatewright_controller.store import (
    API,
    GATEWAY,
    THE_GATEWAY,
    Author,
    NoSuchApiError,
    NoSuchRevisionError,
    OtherOwnerError,
    OtherRevisionError,
    Store,
    StoreError,
    Terms,
    open_store,
)
from gatewright_controller.store.sql_store import SqlStore
from gatewright_controller.store.tables import resources
from gatewright_documents.values import JsonObject
from sqlalchemy import update

from .apis import api

ANN = Terms(Author("token", "192.0.2.7", "more memory"), "team-a")


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    store = open_store(database)
    yield store
    store.close()


def test_what_was_written_is_there_after_a_restart(store: Store, database: str, orders: JsonObject) -> None:
    orders["spec"]["policies"] = [{"name": "p", "version": "v1.0.0", "params": {"n": 9007199254740993, "t": "ä\x00"}}]
    written = store.create(from_document(orders), ("v1.0.0",), ANN)
    other = open_store(database)
    assert other.get("orders-v1") == written
    assert other.revision == 1
    assert other.at(API, "orders-v1", 1) == store.at(API, "orders-v1", 1)
    other.close()


@pytest.mark.parametrize("value", [True, 1.0, "1"])
def test_values_that_python_takes_for_equal_are_a_change(store: Store, orders: JsonObject, value: object) -> None:
    orders["spec"]["policies"] = [{"name": "p", "version": "v1", "params": {"n": 1}}]
    store.create(from_document(orders), ("v1.0.0",))
    assert store.replace(from_document(orders), ("v1.0.0",)).revision == 1
    assert store.replace(from_document(orders), ("v1.1.0",)).revision == 2
    orders["spec"]["policies"][0]["params"]["n"] = value
    assert store.replace(from_document(orders), ("v1.1.0",)).revision == 3
    (stored,) = store.get("orders-v1").api.spec.policies
    assert repr(stored.params["n"]) == repr(value)


def test_times_tell_creation_from_change(store: Store) -> None:
    created = store.create(api("a", "/x"))
    changed = store.replace(api("a", "/y"))
    assert changed.created_at == created.created_at
    assert changed.updated_at >= created.updated_at
    assert store.get("a") == changed


def test_names_come_in_the_order_of_their_bytes(store: Store) -> None:
    """Whatever the language of the database: a page of a list continues after a name."""
    names = ["a-b", "a", "ab", "b", "a-1", "a1", "aa"]
    for name in names:
        store.create(api(name, f"/{name}"))
    assert [stored.name for stored in store.list()] == sorted(names)
    assert [stored.name for stored in store.list("a1", 2)] == ["aa", "ab"]
    assert [stored.name for stored in store.list("aa\0")] == ["ab", "b"]


def test_what_apis_have_at_a_place_is_read_alone(store: Store) -> None:
    store.create(api("a", "/x", ["a.example"], ["public"]))
    store.create(api("b", "/y", ["a.example"]))
    store.create(api("c", "/x"))
    wanted = [Claim("a.example", "/x", ""), Claim("*", "/z", ""), Claim("\0", "\0", "")]
    assert store.holders(wanted) == {Claim("a.example", "/x", "public"): "a"}


def test_an_unknown_field_in_a_stored_document_is_not_ours(store: Store) -> None:
    store.create(api("a", "/x"))
    assert isinstance(store, SqlStore)
    with store.engine.begin() as connection:
        connection.execute(update(resources).values(document=json.dumps({"later": 1})))
    with pytest.raises(msgspec.ValidationError, match="later"):
        store.get("a")


def test_a_name_that_no_text_has_names_nothing(store: Store) -> None:
    """PostgreSQL refuses such a text as an error."""
    with pytest.raises(NoSuchApiError):
        store.get("a\0")
    with pytest.raises(NoSuchRevisionError):
        store.at(API, "a\0", 1)
    assert store.history(API, "a\0") == []


def test_what_attachments_run_moves_without_a_write(store: Store) -> None:
    store.create(api("a", "/x"), ("v1.0.0",))
    store.move("a", ("v1.2.0",))
    stored = store.get("a")
    assert (stored.versions, stored.revision, store.revision) == (("v1.2.0",), 1, 1)
    assert store.replace(api("a", "/x"), ("v1.3.0",)).versions == store.get("a").versions == ("v1.3.0",)
    assert [store.at(API, "a", revision).versions for revision in (1, 2)] == [("v1.0.0",), ("v1.3.0",)]


@pytest.mark.parametrize("url", ["", "sqlite:", "mysql://x", "/var/x.db"])
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(StoreError, match="expected a database such as sqlite:"):
        open_store(url)


def test_the_history_tells_who_wrote_what_when_and_why(store: Store) -> None:
    first = store.create(api("a", "/x"), ("v1.0.0",), ANN)
    store.create(api("b", "/b"))
    second = store.replace(api("a", "/y"), (), Terms(Author("local", "127.0.0.1")))
    store.delete("a", Terms(Author("token", "", "not needed"), "team-a"))
    entries = store.history(API, "a")
    assert [(entry.revision, entry.action, entry.owner, entry.author) for entry in entries] == [
        (4, "deleted", "team-a", Author("token", "", "not needed")),
        (3, "changed", "team-a", Author("local", "127.0.0.1")),
        (1, "created", "team-a", ANN.author),
    ]
    assert [entry.at for entry in entries[1:]] == [second.updated_at, first.updated_at]
    assert store.history(API, "a", before=3) == entries[2:]
    assert store.history(API, "a", limit=1) == entries[:1]
    assert store.history(API, "none") == []


def test_a_revision_is_named_by_its_number_or_from_the_newest_back(store: Store) -> None:
    for context in ("/x", "/y", "/z"):
        (store.replace if context != "/x" else store.create)(api("a", context))
    store.create(api("b", "/b"))
    found = [store.at(API, "a", revision) for revision in (1, -2, 3, 0)]
    assert [(past.entry.revision, past.document and past.document["spec"]["context"]) for past in found] == [
        (1, "/x"), (1, "/x"), (3, "/z"), (3, "/z"),
    ]  # fmt: skip
    for revision in (4, -3, 10**18 - 1):
        with pytest.raises(NoSuchRevisionError) as refused:
            store.at(API, "a", revision)
        assert refused.value.newest == 3
    with pytest.raises(NoSuchRevisionError) as refused:
        store.at(API, "none", 0)
    assert refused.value.newest is None


def test_a_deletion_has_no_document_and_what_was_before_it_has(store: Store) -> None:
    store.create(api("a", "/x"))
    store.delete("a")
    assert store.at(API, "a", 0).document is None
    past = store.at(API, "a", -1)
    assert store.roll_back(past, api("a", "/x")).revision == 3
    assert store.history(API, "a")[0].source == "a@1"


def test_a_write_for_other_revisions_is_refused(store: Store) -> None:
    store.create(api("a", "/x"))
    expected = Terms(expected=frozenset({7}))
    for write in (
        lambda: store.replace(api("a", "/y"), (), expected),
        lambda: store.replace(api("a", "/x"), (), expected),
        lambda: store.delete("a", expected),
        lambda: store.rename("a", api("b", "/x"), (), expected),
        lambda: store.roll_back(store.at(API, "a", 1), api("a", "/y"), (), expected),
        lambda: store.write_all([(api("a", "/y"), ())], expected),
    ):
        with pytest.raises(OtherRevisionError) as refused:
            write()
        assert refused.value.revision == 1
    assert (store.revision, len(store.history(API, "a"))) == (1, 1)
    store.replace(api("a", "/y"), (), Terms(expected=frozenset({1})))


def test_an_owner_keeps_what_is_its_own_until_it_is_taken_over(store: Store) -> None:
    store.create(api("a", "/x"), (), Terms(owner="team-a"))
    with pytest.raises(OtherOwnerError) as refused:
        store.replace(api("a", "/y"), (), Terms(owner="team-b"))
    assert (refused.value.owner, refused.value.wanted) == ("team-a", "team-b")
    assert store.replace(api("a", "/y")).owner == "team-a", "a write for nobody keeps the owner"
    taken = store.replace(api("a", "/y"), (), Terms(owner="team-b", take_over=True))
    assert (taken.owner, taken.revision) == ("team-b", 3), "another owner is a change"
    assert store.create(api("b", "/b")).owner == ""
    assert store.replace(api("b", "/b"), (), Terms(owner="team-a")).owner == "team-a", "nobody's needs no taking over"


def test_a_gateway_has_a_history_too(store: Store) -> None:
    documents: list[JsonObject] = [{"spec": {"listeners": [{"port": port}]}} for port in (80, 81)]
    assert (store.gateway(), store.delete_gateway()) == (None, None)
    first = store.put_gateway(documents[0], ANN)
    assert store.put_gateway(documents[0], ANN) == first
    store.put_gateway(documents[1])
    with pytest.raises(OtherRevisionError):
        store.put_gateway(documents[0], Terms(expected=frozenset({1})))
    with pytest.raises(OtherOwnerError):
        store.delete_gateway(Terms(owner="team-b"))
    assert store.delete_gateway() == 3
    past = store.at(GATEWAY, THE_GATEWAY, 2)
    restored = store.put_gateway(documents[1], past=past)
    assert (restored.document, restored.owner) == (documents[1], "team-a")
    actions = [(entry.revision, entry.action, entry.source) for entry in store.history(GATEWAY, THE_GATEWAY)]
    assert actions == [(4, "rolledBack", "gateway@2"), (3, "deleted", ""), (2, "changed", ""), (1, "created", "")]


def test_a_gateway_of_a_file_is_in_the_history_once_for_each_change(store: Store) -> None:
    author = Author("file", "/etc/gateway.yaml")
    for port in (80, 80, 81):
        store.record_gateway({"port": port}, author)
    assert store.gateway() is None
    assert [(entry.revision, entry.action, entry.author) for entry in store.history(GATEWAY, THE_GATEWAY)] == [
        (2, "changed", author), (1, "created", author),
    ]  # fmt: skip


def test_writers_of_two_controllers_get_numbers_in_the_order_of_their_commits(database: str) -> None:
    """Each sees the newest before its own: no number is twice, none is missing, and no entry is lost."""
    stores = [open_store(database) for _ in range(2)]
    stores[0].create(api("shared", "/shared"))

    def write(number: int) -> None:
        store = stores[number % 2]
        store.create(api(f"own-{number}", f"/own-{number}"))
        store.replace(api("shared", f"/shared-{number}"))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(write, range(40)))
    assert stores[0].revision == stores[1].revision == 81
    histories = [[entry.revision for entry in stores[0].history(API, kept.name)] for kept in stores[1].list()]
    assert sorted(revision for revisions in histories for revision in revisions) == [*range(1, 82)]
    newest = stores[1].at(API, "shared", 0)
    assert newest.document is not None
    assert stores[0].get("shared").api.spec.context == newest.document["spec"]["context"]
    for store in stores:
        store.close()
