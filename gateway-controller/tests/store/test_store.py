from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import pytest
from gatewright_controller.model import Api, from_document, to_document
from gatewright_controller.resource.versions import attachments
from gatewright_controller.store import (
    ApiExistsError,
    ContextTakenError,
    NoDatabaseError,
    NoSuchApiError,
    SqliteStore,
    StorageError,
    Store,
    StoreError,
    open_store,
)
from gatewright_documents.values import JsonObject
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

NAMES = st.sampled_from(["a", "b", "c"])
CONTEXTS = st.sampled_from(["/x", "/y", "/z"])
HOSTS = st.lists(st.sampled_from(["a.example", "b.example", "*.example"]), max_size=2, unique=True)
LISTENERS = st.lists(st.sampled_from(["inside", "outside"]), max_size=2, unique=True)


def api(name: str, context: str, hosts: Sequence[str] = (), listeners: Sequence[str] = ()) -> Api:
    return from_document(
        {
            "apiVersion": "gatewright.dev/v1",
            "kind": "Api",
            "metadata": {"name": name},
            "spec": {
                "version": "v1",
                "context": context,
                "hosts": list(hosts),
                "listeners": list(listeners),
                "upstream": {"main": {"url": "http://orders"}},
                "operations": [{"method": "GET", "path": "/"}],
            },
        }
    )


def claims(claimant: Api) -> set[tuple[str, str, str]]:
    spec = claimant.spec
    return {(host, spec.context, listener) for host in spec.hosts or ["*"] for listener in spec.listeners or [""]}


def clash(first: Api, second: Api) -> bool:
    """An API that names no listener may be on any."""
    both = [{*made.spec.hosts} or {"*"} for made in (first, second)]
    on_listeners = {*first.spec.listeners} & {*second.spec.listeners} or not (
        first.spec.listeners and second.spec.listeners
    )
    return first.spec.context == second.spec.context and bool(both[0] & both[1]) and bool(on_listeners)


class StoreMachine(RuleBasedStateMachine):
    """Compared with a dict: acknowledged writes are there, refused ones changed nothing, revisions grow."""

    @initialize()
    def open(self) -> None:
        self.store: Store = open_store("sqlite::memory:")
        self.model: dict[str, Api] = {}
        self.revision = 0

    @rule(name=NAMES, context=CONTEXTS, hosts=HOSTS, listeners=LISTENERS)
    def create(self, name: str, context: str, hosts: list[str], listeners: list[str]) -> None:
        written = api(name, context, hosts, listeners)
        if name in self.model:
            with pytest.raises(ApiExistsError):
                self.store.create(written)
        elif owner := self.owner(written):
            with pytest.raises(ContextTakenError, match=f"{context} on .* is {owner}'s"):
                self.store.create(written)
        else:
            self.written(self.store.create(written).revision)
            self.model[name] = written

    @rule(name=NAMES, context=CONTEXTS, hosts=HOSTS, listeners=LISTENERS)
    def replace(self, name: str, context: str, hosts: list[str], listeners: list[str]) -> None:
        written = api(name, context, hosts, listeners)
        if name not in self.model:
            with pytest.raises(NoSuchApiError):
                self.store.replace(written)
        elif self.owner(written):
            with pytest.raises(ContextTakenError):
                self.store.replace(written)
        elif self.model[name] == written:
            before = self.store.get(name)
            assert self.store.replace(written) == before
        else:
            self.written(self.store.replace(written).revision)
            self.model[name] = written

    @rule(writes=st.dictionaries(NAMES, st.tuples(CONTEXTS, HOSTS), min_size=1))
    def write_all(self, writes: dict[str, tuple[str, list[str]]]) -> None:
        """One revision for all that changes; a context may pass from one of them to another."""
        apis = {name: api(name, context, hosts) for name, (context, hosts) in writes.items()}
        after = self.model | apis
        claimed = [claim for api in after.values() for claim in claims(api)]
        if len(set(claimed)) < len(claimed):
            with pytest.raises(ContextTakenError):
                self.store.write_all([(api, ()) for api in apis.values()])
            return
        before = {stored.name: stored for stored in self.store.list()}
        changed = {name for name, written in apis.items() if self.model.get(name) != written}
        self.revision += bool(changed)
        for stored in self.store.write_all([(api, ()) for api in apis.values()]):
            if stored.name in changed:
                assert stored.revision == self.revision
                assert stored.name not in before or stored.created_at == before[stored.name].created_at
            else:
                assert stored == before[stored.name]
        self.model = after

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        if name in self.model:
            self.written(self.store.delete(name))
            del self.model[name]
        else:
            with pytest.raises(NoSuchApiError):
                self.store.delete(name)

    @invariant()
    def agrees(self) -> None:
        if hasattr(self, "store"):
            assert [stored.api for stored in self.store.list()] == [self.model[name] for name in sorted(self.model)]
            claimed = [(claim, name) for name, owner_api in self.model.items() for claim in claims(owner_api)]
            assert self.store.claims() == dict(claimed)
            assert len(self.store.claims()) == len(claimed)
            assert self.store.revision == self.revision

    def owner(self, written: Api) -> str | None:
        """A pattern of the names of the APIs that have one of its claims."""
        others = [name for name, claimant in self.model.items() if name != written.metadata.name]
        found = [name for name in others if clash(written, self.model[name])]
        return f"({'|'.join(found)})" if found else None

    def written(self, revision: int) -> None:
        assert revision == self.revision + 1
        self.revision = revision

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()


StoreMachine.TestCase.settings = settings(max_examples=30, deadline=None)
TestStore = StoreMachine.TestCase


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "controller.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    store = open_store(f"sqlite:{path}")
    yield store
    store.close()


def test_what_was_written_is_there_after_a_restart(store: Store, path: Path, orders: JsonObject) -> None:
    orders["spec"]["policies"] = [{"name": "p", "version": "v1.0.0", "params": {"n": 9007199254740993, "t": "ä\x00"}}]
    written = store.create(from_document(orders))
    other = open_store(f"sqlite:{path}")
    assert other.get("orders-v1") == written
    assert other.revision == 1
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


def test_an_unknown_field_in_a_stored_document_is_not_ours(store: Store, path: Path) -> None:
    store.create(api("a", "/x"))
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE apis SET document = json_set(document, '$.later', 1)")
    connection.close()
    with pytest.raises(msgspec.ValidationError, match="later"):
        store.get("a")


def test_a_database_of_a_newer_controller_is_left_alone(path: Path) -> None:
    open_store(f"sqlite:{path}").close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StoreError, match="version 5, got 99"):
        SqliteStore(str(path))


def test_what_is_no_database_is_named_with_its_cure(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no database" * 100)
    with pytest.raises(NoDatabaseError) as caught:
        SqliteStore(str(tmp_path / "text"))
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
        SqliteStore(str(path))


def test_a_database_below_a_file_has_the_systems_reason(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NoDatabaseError, match=r"cannot open its database: .*: (Not a directory|File exists)"):
        SqliteStore(str(tmp_path / "file" / "controller.db"))


@pytest.mark.parametrize("url", ["", "sqlite:", "postgres://x", "/var/x.db"])
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(StoreError, match="expected a database such as sqlite:"):
        open_store(url)


def fill(store: Store) -> None:
    for number in range(1000):
        store.create(api(f"more-{number}", f"/more-{number}"))


def test_what_there_is_no_room_for_is_refused_and_undone(tmp_path: Path) -> None:
    store = SqliteStore(str(tmp_path / "controller.db"))
    kept = store.create(api("kept", "/kept"))
    pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StorageError, match="full") as refused:
        fill(store)
    assert refused.value.full
    assert store.get("kept") == kept
    assert store.revision == len(store.list())
    store._connection.execute("PRAGMA max_page_count = 1000000")
    store.create(api("room-again", "/room-again"))
    store.close()


def test_what_attachments_run_moves_without_a_write(path: Path) -> None:
    store = open_store(f"sqlite:{path}")
    store.create(api("a", "/x"), ("v1.0.0",))
    store.move("a", ("v1.2.0",))
    stored = store.get("a")
    assert (stored.versions, stored.revision, store.revision) == (("v1.2.0",), 1, 1)
    assert store.replace(api("a", "/x"), ("v1.3.0",)).versions == store.get("a").versions == ("v1.3.0",)
    store.close()


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
    path.parent.mkdir()
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
    path.parent.mkdir()
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
    store = open_store(f"sqlite:{path}")
    store.create(api("a", "/x", ["a.example"], ["inside", "outside"]))
    store.create(api("b", "/x"))
    store.close()
    with sqlite3.connect(path) as connection:
        connection.executescript(VERSION_4_CLAIMS)
    connection.close()
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


VERSION_4_CLAIMS = """
DROP TABLE claims;
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
