"""Backups of a PostgreSQL, and what they are restored into."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from gatewright_controller.access import Grant, Token
from gatewright_controller.store import (
    API,
    GATEWAY,
    THE_GATEWAY,
    AuditFilter,
    Author,
    Store,
    StoreError,
    Terms,
    open_store,
)
from gatewright_controller.store.copies import back_up, restore

from .apis import api


@pytest.fixture
def source(new_postgresql: Callable[[], str]) -> str:
    """A PostgreSQL with everything that a store keeps; also more rows than are copied at a time."""
    url = new_postgresql()
    store = open_store(url)
    terms = Terms(Author("token", "192.0.2.7", "because"), "team-a")
    store.create(api("kept", "/kept", ["a.example"], ["inside"]), ("v1.0.0",), terms)
    store.create(api("gone", "/gone"))
    store.delete("gone")
    store.write_all([(api(f"more-{number}", f"/more-{number}"), ()) for number in range(600)])
    store.put_gateway({"spec": {"listeners": [{"port": 80}]}}, terms)
    store.create_token(Token("ci", Grant("publisher"), "2026-01-01T00:00:00.000Z", "local"), "digest", terms.author)
    store.close()
    return url


def content(url: str) -> tuple[object, ...]:
    store: Store = open_store(url)
    names = ["kept", "gone", "more-599"]
    pasts = [store.at(kind, name, 0) for kind, name in ((API, "kept"), (API, "gone"), (GATEWAY, THE_GATEWAY))]
    found = (
        store.revision, store.list(), store.claims(), store.gateway(), pasts,
        [store.history(API, name) for name in names], store.tokens(), store.audit(AuditFilter(), 1000),
    )  # fmt: skip
    store.close()
    return found


@pytest.mark.timeout(300)
def test_a_backup_is_restored_into_either_kind(source: str, database: str, tmp_path: Path) -> None:
    file = tmp_path / "backup.db"
    assert back_up(source, file) == 601
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.glob("backup*")] == ["backup.db"]
    before = file.read_bytes()
    assert restore(file, database) == 601
    assert content(database) == content(source)
    assert file.read_bytes() == before
    with pytest.raises(StoreError, match="expected an empty database, got one that was written to, up to revision 6"):
        restore(file, database)
    store = open_store(database)
    assert store.create(api("next", "/next")).revision == 7
    store.close()


def test_a_file_that_is_there_stays(source: str, tmp_path: Path) -> None:
    (tmp_path / "backup.db").write_text("mine")
    with pytest.raises(StoreError, match=r"backup\.db: File exists; choose another file"):
        back_up(source, tmp_path / "backup.db")
    assert (tmp_path / "backup.db").read_text() == "mine"


def test_a_database_without_tables_leaves_no_file(new_postgresql: Callable[[], str], tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="expected the controller's database, got one without its tables"):
        back_up(new_postgresql(), tmp_path / "backup.db")
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_backup_changes_nothing(database: str, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="expected a backup, found none"):
        restore(tmp_path / "none.db", database)
    (tmp_path / "text.db").write_text("no database" * 100)
    with pytest.raises(StoreError, match="is damaged: file is not a database"):
        restore(tmp_path / "text.db", database)
