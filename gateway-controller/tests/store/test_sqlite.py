"""What is SQLite's alone: files that cannot be opened, and disks without room."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from gatewright_controller.store import NoDatabaseError, StorageError, Store, StoreError, open_store
from gatewright_controller.store.database_obstacles import sqlite_obstacle

from .apis import api

ConnectionOf = Callable[[Store], sqlite3.Connection]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "controller.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    store = open_store(f"sqlite:{path}")
    yield store
    store.close()


def fill(store: Store) -> None:
    for number in range(1000):
        store.create(api(f"more-{number}", f"/more-{number}"))


def test_writes_are_on_disk_when_they_return(store: Store, sqlite_connection: ConnectionOf) -> None:
    connection = sqlite_connection(store)
    found = {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")}
    assert found == {"journal_mode": "wal", "synchronous": 2}


def test_a_database_of_a_newer_controller_is_left_alone(path: Path) -> None:
    open_store(f"sqlite:{path}").close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StoreError, match="version 6, got 99; use a newer controller"):
        open_store(f"sqlite:{path}")


def test_what_is_no_database_is_named_with_its_cure(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no database" * 100)
    with pytest.raises(NoDatabaseError) as caught:
        open_store(f"sqlite:{tmp_path}/text")
    assert str(caught.value).startswith(
        f"the controller cannot open its database: {tmp_path}/text is damaged: file is not a database; put a backup in "
    )


def test_a_database_with_a_page_of_something_else_is_damaged(store: Store, path: Path) -> None:
    fill(store)
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    with path.open("r+b") as file:
        file.seek(3 * 4096)
        file.write(b"\xff" * 4096)
    with pytest.raises(NoDatabaseError, match="is damaged: "):
        open_store(f"sqlite:{path}")


def test_a_database_below_a_file_has_the_systems_reason(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NoDatabaseError, match=r"cannot open its database: .*: (Not a directory|File exists)"):
        open_store(f"sqlite:{tmp_path}/file/controller.db")


def test_what_there_is_no_room_for_is_refused_and_undone(path: Path, sqlite_connection: ConnectionOf) -> None:
    store = open_store(f"sqlite:{path}")
    kept = store.create(api("kept", "/kept"))
    connection = sqlite_connection(store)
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StorageError, match="full") as refused:
        fill(store)
    assert refused.value.full
    assert store.get("kept") == kept
    assert store.revision == len(store.list())
    connection.execute("PRAGMA max_page_count = 1000000")
    store.create(api("room-again", "/room-again"))
    store.close()


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (sqlite3.SQLITE_BUSY, "PATH: reason; end the process that uses it"),
        (sqlite3.SQLITE_FULL, "the disk is full (PATH: reason); make room there"),
        (sqlite3.SQLITE_READONLY, "PATH: reason; let the controller's user read and write this file and its folder"),
    ],
)
def test_each_obstacle_has_its_cure(tmp_path: Path, code: int, sentence: str) -> None:
    error = sqlite3.OperationalError("reason")
    error.sqlite_errorcode = code
    assert sqlite_obstacle(f"{tmp_path}/x.db", error) == sentence.replace("PATH", f"{tmp_path}/x.db")


def test_a_database_that_another_process_writes_is_busy_and_then_is_not(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gatewright_controller.store.sqlite.BUSY_SECONDS", 0.05)
    store = open_store(f"sqlite:{path}")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageError, match="locked") as refused:
        store.create(api("a", "/x"))
    assert not refused.value.full
    open_store(f"sqlite:{path}").close()
    other.execute("ROLLBACK")
    other.close()
    assert store.create(api("a", "/x")).revision == 1
    store.close()
