"""Databases that older controllers have written."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
from gatewright_controller.model import to_document
from gatewright_controller.resource.versions import attachments
from gatewright_controller.store import (
    API,
    GATEWAY,
    THE_GATEWAY,
    UNKNOWN,
    Author,
    ContextTakenError,
    StoreError,
    before_revisions,
    open_store,
)
from gatewright_controller.store.tables import metadata
from gatewright_documents.values import JsonObject

from .apis import api

VERSION_5 = Path(__file__).parents[1] / "testdata" / "database-5.sql"
"""What a controller of version 5 has written: three APIs, one of them deleted, one with `versions`, and a Gateway."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "new").mkdir()
    return tmp_path / "new" / "controller.db"


def write(path: Path, script: str) -> None:
    with sqlite3.connect(path) as connection:
        connection.executescript(script)
    connection.close()


def test_what_version_5_has_written_is_kept_with_one_entry_of_history(path: Path) -> None:
    write(path, VERSION_5.read_text())
    with sqlite3.connect(path) as connection:
        before = connection.execute("SELECT * FROM apis ORDER BY name").fetchall()
        claims = connection.execute("SELECT host, context, listener, api FROM claims").fetchall()
        (gateway,) = connection.execute("SELECT document, revision, updated_at FROM gateway").fetchall()
        (revision,) = connection.execute("SELECT value FROM revision").fetchone()
    connection.close()
    assert (len(before), len(claims) > len(before)) == (2, True)
    for _ in range(2):
        store = open_store(f"sqlite:{path}")
        stored = store.list()
        rows = [
            (kept.name, to_document(kept.api), kept.revision, kept.created_at, kept.updated_at, [*kept.versions])
            for kept in stored
        ]
        assert rows == [(name, json.loads(text), *rest, json.loads(kept)) for name, text, *rest, kept in before]
        assert {(*claim, name) for claim, name in store.claims().items()} == {*claims}
        assert store.revision == revision
        for kept in stored:
            (entry,) = store.history(API, kept.name)
            assert (entry.revision, entry.action, entry.at) == (kept.revision, "created", kept.updated_at)
            assert entry.author == Author(UNKNOWN.actor, "", "was here before revisions were kept")
            past = store.at(API, kept.name, kept.revision)
            assert (past.document, past.versions) == (to_document(kept.api), kept.versions)
        kept_gateway = store.gateway()
        assert kept_gateway is not None
        assert (kept_gateway.document, kept_gateway.revision, kept_gateway.updated_at) == (
            json.loads(gateway[0]), *gateway[1:],
        )  # fmt: skip
        assert [entry.revision for entry in store.history(GATEWAY, THE_GATEWAY)] == [gateway[1]]
        store.close()
    store = open_store(f"sqlite:{path}")
    assert store.create(api("new", "/new")).revision == revision + 1
    store.close()


def test_an_upgrade_that_fails_leaves_the_old_database(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(path, VERSION_5.read_text())
    broken = (*before_revisions.COPY[:-1], "INSERT INTO nowhere VALUES (1)")
    with monkeypatch.context() as patched:
        patched.setattr(before_revisions, "COPY", broken)
        with pytest.raises(StoreError, match="no such table"):
            open_store(f"sqlite:{path}")
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (5,)
        assert connection.execute("SELECT count(*) FROM apis").fetchone() == (2,)
    connection.close()
    store = open_store(f"sqlite:{path}")
    assert len(store.list()) == 2
    store.close()


def test_a_controller_of_version_5_refuses_the_new_database_by_its_number(path: Path) -> None:
    write(path, VERSION_5.read_text())
    open_store(f"sqlite:{path}").close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (6,)
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    connection.close()
    assert tables == {*metadata.tables}


VERSION_1 = """
CREATE TABLE revision (value INTEGER NOT NULL);
INSERT INTO revision VALUES (7);
CREATE TABLE apis (
    name TEXT PRIMARY KEY,
    context TEXT NOT NULL UNIQUE,
    document TEXT NOT NULL,
    revision INTEGER NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
) WITHOUT ROWID;
PRAGMA user_version = 1;
"""


def test_a_database_of_version_1_asks_for_the_major_versions_of_what_it_had(path: Path) -> None:
    document = to_document(api("a", "/x"))
    document["spec"]["policies"] = [{"name": "p", "version": "v1.0.0", "params": {"a": 1}}]
    document["spec"]["operations"][0]["policies"] = [{"name": "q", "version": "v12.3.4"}]
    with sqlite3.connect(path) as connection:
        connection.executescript(VERSION_1)
        row = ("a", "/x", json.dumps(document), 5, "2026-01-01T00:00:00.000Z", "2026-02-01T00:00:00.000Z")
        connection.execute("INSERT INTO apis VALUES (?, ?, ?, ?, ?, ?)", row)
    connection.close()
    for _ in range(2):
        store = open_store(f"sqlite:{path}")
        (stored,) = store.list()
        assert stored.versions == ("v1.0.0", "v12.3.4")
        assert [attachment.version for _, attachment in attachments(stored.api)] == ["v1", "v12"]
        assert stored.api.spec.policies[0].params == {"a": 1}
        assert stored.api.spec.strict_paths is False
        assert (stored.revision, stored.created_at, store.revision) == (5, "2026-01-01T00:00:00.000Z", 7)
        store.close()


VERSION_2 = VERSION_1.replace("updated_at TEXT NOT NULL\n", "updated_at TEXT NOT NULL,\n    versions TEXT NOT NULL\n")


def older(path: Path, version: int, *apis: tuple[str, JsonObject]) -> None:
    """A database of version 2 or 3 with these APIs: context in it, and document."""
    with sqlite3.connect(path) as connection:
        connection.executescript(VERSION_2.replace("user_version = 1", f"user_version = {version}"))
        for context, document in apis:
            row = (document["metadata"]["name"], context, json.dumps(document), 5, "2026-01-01", "2026-02-01", "[]")
            connection.execute("INSERT INTO apis VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    connection.close()


def test_apis_of_version_3_have_their_contexts_on_every_host(path: Path) -> None:
    older(path, 3, ("/x", to_document(api("a", "/x"))), ("/y", to_document(api("b", "/y"))))
    for _ in range(2):
        store = open_store(f"sqlite:{path}")
        assert store.claims() == {("*", "/x", ""): "a", ("*", "/y", ""): "b"}
        assert [(stored.name, stored.context, stored.revision) for stored in store.list()] == [
            ("a", "/x", 5),
            ("b", "/y", 5),
        ]
        store.close()
    store = open_store(f"sqlite:{path}")
    with pytest.raises(ContextTakenError):
        store.create(api("c", "/x"))
    store.create(api("c", "/x", ["a.example"]))
    store.close()


def test_apis_of_version_4_have_their_contexts_on_their_listeners(path: Path) -> None:
    on_listeners = api("a", "/x", ["a.example"], ["inside", "outside"])
    older(path, 3, ("/x", to_document(on_listeners)), ("/y", to_document(api("b", "/x"))))
    write(path, VERSION_4)
    for _ in range(2):
        store = open_store(f"sqlite:{path}")
        on = {("a.example", "/x", listener): "a" for listener in ("inside", "outside")}
        assert store.claims() == {**on, ("*", "/x", ""): "b"}
        store.close()
    store = open_store(f"sqlite:{path}")
    with pytest.raises(ContextTakenError):
        store.create(api("c", "/x", ["a.example"], ["outside"]))
    store.create(api("c", "/x", ["a.example"], ["elsewhere"]))
    store.close()


VERSION_4 = """
CREATE TABLE moved (
    name TEXT PRIMARY KEY,
    document TEXT NOT NULL,
    revision INTEGER NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    versions TEXT NOT NULL
) WITHOUT ROWID;
INSERT INTO moved SELECT name, document, revision, created_at, updated_at, versions FROM apis;
DROP TABLE apis;
ALTER TABLE moved RENAME TO apis;
CREATE TABLE claims (
    host TEXT NOT NULL,
    context TEXT NOT NULL,
    api TEXT NOT NULL,
    PRIMARY KEY (host, context)
) WITHOUT ROWID;
INSERT INTO claims VALUES ('a.example', '/x', 'a'), ('*', '/x', 'b');
CREATE INDEX claims_of ON claims (api);
PRAGMA user_version = 4;
"""


def test_apis_of_version_2_take_the_paths_that_they_took(path: Path) -> None:
    older(path, 2, ("/v1:x", to_document(api("a", "/v1:x"))))
    for _ in range(2):
        store = open_store(f"sqlite:{path}")
        (stored,) = store.list()
        assert stored.api.spec.strict_paths is False
        assert stored.context == "/v1:x"
        store.close()
    store = open_store(f"sqlite:{path}")
    assert store.replace(api("a", "/x")).api.spec.strict_paths is True
    assert store.create(api("b", "/y")).api.spec.strict_paths is True
    assert [listed.api.spec.strict_paths for listed in store.list()] == [True, True]
    store.close()
