"""Resources of any kind, in both databases: writes, their history, and other forms of the same document."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from gatewright_controller.access import NotPermittedError, Permit, Scope
from gatewright_controller.store import (
    Batch,
    NoSuchResourceError,
    OtherOwnerError,
    OtherRevisionError,
    Store,
    Terms,
    WrittenMeanwhileError,
    open_store,
)
from gatewright_documents.values import JsonObject

KIND = "Secret"


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    with contextlib.closing(open_store(database)) as store:
        yield store


def document(name: str, spec: str, **labels: str) -> JsonObject:
    return {"kind": KIND, "metadata": {"name": name, "labels": labels}, "spec": spec}


def test_what_is_written_is_read_and_the_same_again_stays(store: Store) -> None:
    first = store.put_resource(KIND, document("b", "one"))
    store.put_resource(KIND, document("a", "two"))
    assert store.put_resource(KIND, document("b", "one")) == first
    assert [resource.name for resource in store.resources(KIND)] == ["a", "b"]
    assert store.resource(KIND, "b") == first
    assert store.resource("Plan", "b") is None
    assert store.changes_since(1).others.keys() == {(KIND, "a")}
    changed = store.put_resource(KIND, document("b", "three"), Terms(owner="team"))
    assert (changed.created_at, changed.owner) == (first.created_at, "team")
    with pytest.raises(OtherOwnerError):
        store.put_resource(KIND, document("b", "four"), Terms(owner="others"))
    with pytest.raises(OtherRevisionError):
        store.put_resource(KIND, document("b", "four"), Terms(expected=frozenset([first.revision])))


def test_a_deleted_one_can_be_rolled_back_to(store: Store) -> None:
    store.put_resource(KIND, document("a", "one"), Terms(owner="team"))
    store.delete_resource(KIND, "a")
    with pytest.raises(NoSuchResourceError):
        store.delete_resource(KIND, "a")
    past = store.at(KIND, "a", -1)
    assert past.document
    back = store.put_resource(KIND, past.document, past=past)
    assert (back.owner, back.document) == ("team", past.document)
    assert [entry.action for entry in store.history(KIND, "a")] == ["rolledBack", "deleted", "created"]
    assert store.history(KIND, "a")[0].source == "a@1"


def test_a_bound_permit_is_asked_of_both_sides(store: Store) -> None:
    terms = Terms(permit=Permit("token:a", [Scope(labels={"team": "a"})]))
    store.put_resource(KIND, document("theirs", "one", team="b"))
    for refused in (document("theirs", "two", team="a"), document("new", "one", team="b")):
        with pytest.raises(NotPermittedError):
            store.put_resource(KIND, refused, terms)
    with pytest.raises(NotPermittedError):
        store.delete_resource(KIND, "theirs", terms)
    assert store.put_resource(KIND, document("mine", "one", team="a"), terms).revision == 2


def test_a_batch_writes_and_deletes_or_does_neither(store: Store) -> None:
    kept = store.put_resource(KIND, document("kept", "one"))
    gone = store.put_resource(KIND, document("gone", "one"))
    wanted = {(KIND, "new"): document("new", "x"), (KIND, "kept"): document("kept", "two"), (KIND, "gone"): None}
    with pytest.raises(WrittenMeanwhileError):
        store.write_batch(Batch(resources=wanted, seen_resources={(KIND, "kept"): kept.revision, (KIND, "gone"): 99}))
    assert [resource.document["spec"] for resource in store.resources(KIND)] == ["one", "one"]
    seen = {(KIND, "kept"): kept.revision, (KIND, "gone"): gone.revision}
    written = store.write_batch(Batch(resources=wanted, seen_resources=seen))
    assert [(resource.name, resource.revision) for resource in written.resources] == [("new", 3), ("kept", 3)]
    assert [resource.name for resource in store.resources(KIND)] == ["kept", "new"]


def test_another_form_takes_the_place_of_each_document_and_is_no_write(store: Store) -> None:
    store.put_resource(KIND, document("a", "one"))
    store.put_resource(KIND, document("a", "two"))
    store.put_resource(KIND, document("b", "one"))
    store.delete_resource(KIND, "b")
    revision = store.revision

    def upper(found: JsonObject) -> JsonObject:
        return {**found, "spec": found["spec"].upper()}

    done = store.rewrite(KIND, upper)
    assert (done.rewritten, done.left) == (4, 0)
    assert (store.rewrite(KIND, upper).rewritten, store.revision) == (0, revision)
    assert store.resources(KIND)[0].document["spec"] == "TWO"
    past = store.at(KIND, "b", -1)
    assert past.document
    assert past.document["spec"] == "ONE"


def test_what_was_interrupted_goes_on_where_it_ended(store: Store) -> None:
    store.put_resource(KIND, document("a", "one"))

    def slow(found: JsonObject) -> JsonObject:
        return {**found, "spec": "other"} if found["spec"] == "one" else found

    calls = iter([True, False])

    def interrupted(found: JsonObject) -> JsonObject:
        if not next(calls):
            raise RuntimeError
        return slow(found)

    with pytest.raises(RuntimeError):
        store.rewrite(KIND, interrupted)
    done = store.rewrite(KIND, slow)
    assert (done.rewritten, done.left) == (1, 1), "the first one stays done"
