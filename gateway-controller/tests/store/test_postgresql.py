"""What is PostgreSQL's alone: servers that are away, refuse or restart, and URLs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import postgresql_server
import psycopg
import pytest
from gatewright_controller.store import NoDatabaseError, StorageError, Store, StoreError, bounded_connection, open_store
from gatewright_controller.store.postgresql import obstacle_of

from .apis import api


@pytest.fixture
def url(new_postgresql: Callable[[], str]) -> str:
    return new_postgresql()


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    store = open_store(url)
    yield store
    store.close()


def administer(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def test_controllers_that_start_together_make_the_tables_once(url: str) -> None:
    with ThreadPoolExecutor(6) as threads:
        stores = list(threads.map(open_store, [url] * 6))
    for number, store in enumerate(stores):
        assert store.create(api(f"of-{number}", f"/of-{number}")).revision == number + 1
    for store in stores:
        store.close()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("port=5432", "port=5431"), "start the server, or correct the address in `database`"),
        ((f"password={postgresql_server.PASSWORD}", "password=wrong"), "check its user and password"),
        (("user=gateway", "user=nobody"), "check its user and password"),
        (("/test_", "/no_"), "create the database, or name one that is there"),
    ],
)
def test_a_server_that_cannot_be_used_is_named_with_its_cure(url: str, change: tuple[str, str], sentence: str) -> None:
    with pytest.raises(NoDatabaseError) as refused:
        open_store(url.replace(*change))
    assert str(refused.value).startswith("the controller cannot open its database: postgresql://")
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)
    assert postgresql_server.PASSWORD not in str(refused.value)
    assert "wrong" not in str(refused.value)


def test_a_server_that_only_reads_is_refused_with_its_cure(url: str) -> None:
    name = url.partition("?")[0].rpartition("/")[2]
    administer(url, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    with pytest.raises(NoDatabaseError, match="target_session_attrs=read-write"):
        open_store(url)


def test_a_user_that_may_make_no_tables_is_told(url: str) -> None:
    administer(url, "CREATE ROLE poor LOGIN PASSWORD 'poor'", "REVOKE CREATE ON SCHEMA public FROM public")
    poor = url.replace("user=gateway", "user=poor").replace(postgresql_server.PASSWORD, "poor")
    with pytest.raises(NoDatabaseError, match="let its user create tables in this database"):
        open_store(poor)
    administer(url, "DROP ROLE poor")


def test_what_is_no_url_is_said_without_its_password() -> None:
    with pytest.raises(StoreError, match="expected a database such as postgresql://USER@HOST") as refused:
        open_store("postgresql://user:s3cret@host/name?nonsense=1")
    assert "s3cret" not in str(refused.value)


def test_without_the_driver_the_cure_is_its_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name == "psycopg" or name.startswith("psycopg.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(StoreError, match=r"pip install 'gatewright\[postgresql\]'"):
        open_store("postgresql://host/name")


def test_a_server_that_restarts_is_used_again(store: Store, postgresql: postgresql_server.Server) -> None:
    """While it is away writes fail and change nothing; afterwards no write fails, whatever connections were open."""
    store.create(api("a", "/a"))
    postgresql.stop()
    try:
        with pytest.raises(StorageError) as refused:
            store.create(api("b", "/b"))
        assert (refused.value.full, refused.value.away, refused.value.unknown) == (False, True, False)
        assert store.trouble == str(refused.value)
        assert "start the server, or correct the address" in store.trouble
    finally:
        postgresql.start()
    assert store.create(api("c", "/c")).revision == 2
    assert store.trouble == ""
    assert [kept.name for kept in store.list()] == ["a", "c"]


def test_a_server_that_is_away_is_logged_once_for_each_reason(
    store: Store, postgresql: postgresql_server.Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    postgresql.stop()
    try:
        for _ in range(5):
            with pytest.raises(StorageError):
                store.list()
    finally:
        postgresql.start()
    store.list()
    store.list()
    *reasons, again = [record.message for record in caplog.records if record.name.endswith("database_state")]
    assert len(reasons) == len(set(reasons)) <= 2, "the server that ends, and the server that is away"
    assert again == "the database answers again"


def test_a_server_that_hangs_is_waited_for_a_bounded_time(
    url: str, postgresql: postgresql_server.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its connections stay open, and the kernel accepts new ones."""
    monkeypatch.setattr(bounded_connection, "SILENT_SECONDS", 1.0)
    store = open_store(f"{url}&connect_timeout=2")
    store.create(api("a", "/a"))
    with postgresql.hanging(), ThreadPoolExecutor(8) as threads:
        writes = [threads.submit(store.create, api(f"w{number}", f"/w{number}")) for number in range(8)]
        for write in writes:
            with pytest.raises(StorageError) as refused:
                write.result(60)
            assert (refused.value.away, refused.value.unknown) == (True, False)
        assert "see why the server, or a proxy before it, does not answer" in store.trouble
        tries = [threads.submit(store.list) for _ in range(2)]
        refusals = [read.exception(60) for read in tries]
        assert all(isinstance(refusal, StorageError) for refusal in refusals)
    assert store.create(api("b", "/b")).revision == 2
    assert (store.trouble, [kept.name for kept in store.list()]) == ("", ["a", "b"])
    store.close()


def test_of_a_write_whose_commit_a_server_that_hangs_has_it_is_not_known_whether_it_was_stored(
    store: Store, url: str, postgresql: postgresql_server.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded_connection, "SILENT_SECONDS", 1.0)
    administer(url, SLOW_COMMIT.replace("300", "1"))
    with ThreadPoolExecutor(1) as thread, psycopg.connect(url, autocommit=True) as connection:
        write = thread.submit(store.create, api("a", "/a"))
        sleeping = "SELECT pid FROM pg_stat_activity WHERE query = 'COMMIT' AND wait_event = 'PgSleep'"
        while not connection.execute(sleeping).fetchall():
            assert not write.done(), write.exception()
        with postgresql.hanging(), pytest.raises(StorageError) as lost:
            write.result(60)
    assert (lost.value.away, lost.value.unknown) == (True, True)
    stored = [kept.name for kept in store.list()]
    assert stored in ([], ["a"])


SLOW_COMMIT = """
CREATE FUNCTION wait_long() RETURNS trigger AS $$ BEGIN PERFORM pg_sleep(300); RETURN NULL; END $$ LANGUAGE plpgsql;
CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON history DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW EXECUTE FUNCTION wait_long()
"""


def test_of_a_write_whose_commit_was_sent_it_is_not_known_whether_it_was_stored(store: Store, url: str) -> None:
    administer(url, SLOW_COMMIT)
    with ThreadPoolExecutor(1) as thread, psycopg.connect(url, autocommit=True) as connection:
        write = thread.submit(store.create, api("a", "/a"))
        ended = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = 'COMMIT' AND wait_event = 'PgSleep'"
        )
        while not connection.execute(ended).fetchall():
            assert not write.done(), write.exception()
        with pytest.raises(StorageError) as lost:
            write.result(60)
    assert (lost.value.away, lost.value.unknown) == (True, True)


def test_a_connection_that_was_ended_costs_no_write(store: Store, url: str) -> None:
    store.create(api("a", "/a"))
    ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'gatewright-controller'"
    administer(url, f"{ended} AND datname = current_database()")
    assert store.create(api("b", "/b")).revision == 2


def test_a_write_that_waits_for_another_controllers_is_refused_in_time(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gatewright_controller.store.postgresql.SESSION", ("SET lock_timeout = '50ms'",))
    store = open_store(url)
    with psycopg.connect(url) as hanging:
        hanging.execute("SELECT value FROM revision FOR UPDATE")
        with pytest.raises(StorageError, match="lock timeout"):
            store.create(api("a", "/a"))
    assert store.create(api("a", "/a")).revision == 1
    store.close()


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("postgresql://u:secret@a/name", "postgresql://u@a/name"),
        ("postgresql://u:secret@a:1,b:2/name", "postgresql://u@a:1,b:2/name"),
        ("postgresql:///name?host=a,b&port=1", "postgresql://a:1,b:1/name"),
    ],
)
def test_each_server_of_a_url_is_named_with_its_port(url: str, place: str) -> None:
    assert obstacle_of(url)(OSError("no route")).startswith(
        f"the controller has no connection to its database: {place}: no route; start the server"
    )
