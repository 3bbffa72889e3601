"""What is kept of the history and the audit log, in both databases: the rest is deleted, and nothing else."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from pathlib import Path

import pytest
from gatewright_controller.store import (
    API,
    AuditEntry,
    AuditFilter,
    Author,
    NoSuchRevisionError,
    Pruned,
    Retention,
    Store,
    open_store,
    pruning,
)
from gatewright_controller.times import timestamp, utc_now
from msgspec.structs import replace

from .apis import api

LONG_AGO, FAR_AHEAD = "2000-01-01T00:00:00.000Z", "2999-01-01T00:00:00.000Z"
KEEP = Retention(timestamp(utc_now()), 3, deleted_since=LONG_AGO, audit_since=LONG_AGO, audit_entries=10_000)


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    store = open_store(database)
    yield store
    store.close()


@pytest.fixture(params=[1, 500])
def rows(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """That one transaction deletes."""
    monkeypatch.setattr(pruning, "ROWS", request.param)
    monkeypatch.setattr(pruning, "RESOURCES", max(request.param // 100, 1))
    return int(request.param)


def write(store: Store, name: str, times: int) -> None:
    store.create(api(name, f"/{name}"))
    for number in range(1, times):
        store.replace(api(name, f"/{name}/{number}"))


def prune(store: Store, keep: Retention = KEEP) -> Pruned:
    return reduce(Pruned.__add__, store.prune(keep), Pruned())


def revisions(store: Store, name: str) -> list[int]:
    return [entry.revision for entry in store.history(API, name)]


@pytest.mark.usefixtures("rows")
def test_the_newest_revisions_of_each_resource_are_kept(store: Store) -> None:
    for name, times in (("a", 7), ("b", 3), ("c", 1), ("d", 5)):
        write(store, name, times)
    assert prune(store) == Pruned(revisions=4 + 2)
    assert {name: revisions(store, name) for name in "abcd"} == {
        "a": [7, 6, 5],
        "b": [10, 9, 8],
        "c": [11],
        "d": [16, 15, 14],
    }
    assert [stored.revision for stored in store.list()] == [7, 10, 11, 16]
    with pytest.raises(NoSuchRevisionError) as refused:
        store.at(API, "a", 4)
    assert (refused.value.oldest, refused.value.newest) == (5, 7)
    assert prune(store) == Pruned()


def test_each_transaction_is_small(store: Store, rows: int) -> None:
    write(store, "a", 8)
    steps = list(store.prune(KEEP))
    assert max(step.revisions for step in steps) == min(rows, 5)


@pytest.mark.usefixtures("rows")
def test_a_deleted_resource_can_be_rolled_back_for_its_time(store: Store) -> None:
    write(store, "a", 6)
    write(store, "b", 1)
    store.delete("a")
    assert prune(store) == Pruned(revisions=4)
    past = store.at(API, "a", -1)
    assert past.document is not None
    assert past.entry.revision == 6
    assert prune(store, replace(KEEP, deleted_since=FAR_AHEAD)) == Pruned(revisions=3)
    assert revisions(store, "a") == []
    assert revisions(store, "b") == [7], "what is there is not concerned"


def test_a_resource_that_was_renamed_is_kept_by_its_new_name(store: Store) -> None:
    write(store, "a", 2)
    store.rename("a", api("b", "/b"))
    prune(store, replace(KEEP, deleted_since=FAR_AHEAD))
    assert (revisions(store, "a"), revisions(store, "b")) == ([], [3])


@pytest.mark.usefixtures("rows")
def test_the_audit_log_has_an_entry_of_each_round_that_deleted_something(store: Store) -> None:
    write(store, "a", 6)
    prune(store)
    prune(store)
    newest, before = store.audit(AuditFilter(), 2)
    assert (newest.action, newest.author, newest.detail) == (
        "pruned",
        Author("controller"),
        "3 revisions of resources, 0 entries of this log",
    )
    assert before.action == "changed"


@pytest.mark.usefixtures("rows")
@pytest.mark.parametrize("keep", [replace(KEEP, audit_since=FAR_AHEAD), replace(KEEP, audit_entries=1)])
def test_old_entries_of_the_audit_log_go_and_the_newest_stays(store: Store, keep: Retention) -> None:
    """Also while other entries come: the round ends, with one entry of its own."""
    for number in range(5):
        store.record(AuditEntry(timestamp(utc_now()), Author("token"), f"action-{number}"))
    pruned = prune(store, keep)
    left = [entry.action for entry in store.audit(AuditFilter(), 10)]
    assert left[0] == "pruned"
    assert len(left) <= 2
    assert pruned.audit_entries == 5 - len([action for action in left if action != "pruned"])


@pytest.mark.usefixtures("rows")
def test_entries_of_the_audit_log_that_are_to_stay_stay(store: Store) -> None:
    store.record(AuditEntry(LONG_AGO, Author("token"), "old"))
    for number in range(3):
        store.record(AuditEntry(timestamp(utc_now()), Author("token"), f"action-{number}"))
    assert prune(store, replace(KEEP, audit_since="2001-01-01T00:00:00.000Z")) == Pruned(audit_entries=1)
    actions = [entry.action for entry in store.audit(AuditFilter(), 10)]
    assert actions == ["pruned", "action-2", "action-1", "action-0"]


def test_controllers_of_one_database_prune_and_write_at_once(
    new_postgresql: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "ROWS", 2)
    url = new_postgresql()
    stores = [open_store(url) for _ in range(4)]
    for name in "abcdef":
        write(stores[0], name, 12)
    with ThreadPoolExecutor(4) as threads:
        pruning_both = [threads.submit(prune, store) for store in stores[:2]]
        writing = [threads.submit(write, store, name, 9) for store, name in zip(stores[2:], "gh", strict=True)]
        for written in writing:
            written.result()
        assert sum(pruned.result().revisions for pruned in pruning_both) >= 6 * 9
    for name in "abcdef":
        assert revisions(stores[0], name) == [stores[0].get(name).revision - back for back in range(3)]
    prune(stores[0])
    for name in "gh":
        assert len(revisions(stores[1], name)) == 3
        assert revisions(stores[1], name)[0] == stores[1].get(name).revision
    for store in stores:
        store.close()


def test_a_database_under_steady_writes_stops_growing(
    tmp_path: Path, sqlite_connection: Callable[[Store], sqlite3.Connection]
) -> None:
    store = open_store(f"sqlite:{tmp_path / 'controller.db'}")
    store.create(api("a", "/a"))
    pages = []
    for day in range(6):
        for number in range(60):
            store.replace(api("a", f"/a/{day}/{number}"))
        prune(store, replace(KEEP, audit_entries=50))
        pages.append(sqlite_connection(store).execute("PRAGMA page_count").fetchone()[0])
    store.close()
    assert max(pages) <= pages[0] + 4, pages
