"""PostgreSQL: how it is connected to, and brought to the tables of this version."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Coroutine, Iterator, Sequence
from functools import partial
from typing import Any

from sqlalchemy import Engine, create_engine, event, inspect
from sqlalchemy.exc import DBAPIError

from gatewright_controller.store import migrations
from gatewright_controller.store.database_obstacles import postgresql_obstacle
from gatewright_controller.store.errors import NoDatabaseError, StoreError
from gatewright_controller.store.migrations import MIGRATIONS, Migration
from gatewright_controller.store.notifications import listen

DEFAULTS = {
    "application_name": "gatewright-controller",
    "connect_timeout": "5",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "15000",
}
"""Of a connection, where the URL says nothing else: a server that has vanished is noticed after 15 seconds, as is one
that hangs (`bounded_connection`)."""
SESSION = ("SET lock_timeout = '10s'", "SET idle_in_transaction_session_timeout = '30s'", "SET timezone = 'UTC'")
"""A controller that hangs in its write does not hold up another one for ever."""
SCHEMA_LOCK = 0x67617465
"""The key of the advisory lock that tables are created and changed under."""
CONNECTIONS = 5
URL = "postgresql://USER@HOST:PORT/DATABASE"


def open_postgresql(url: str, known: Sequence[Migration] = MIGRATIONS) -> Engine:
    """A pool of connections; one that is broken is replaced when it is next asked for. `url`: as libpq takes it
    (https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING). Raises `StoreError`."""
    with _connected(url) as (engine, place), engine.begin() as connection:
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(%s)", (SCHEMA_LOCK,))
        if not inspect(connection).has_table("schema_version"):
            migrations.create(connection, known)
        migrations.migrate(connection, place, known)
    return engine


def open_as_it_is(url: str) -> Engine:
    """The same of a database that has the tables of this version, which are not changed. Raises `StoreError`."""
    with _connected(url) as (engine, place), engine.begin() as connection:
        if not inspect(connection).has_table("schema_version"):
            raise StoreError(f"{place}: expected the controller's database, got one without its tables")
        if migrations.is_older(connection, place):
            raise StoreError(f"{place}: expected a database of this version, got an older one; use its own release")
    return engine


def listening_to(url: str) -> Callable[[Callable[[], None]], Coroutine[None, None, None]]:
    """Calls what it is given whenever something may have been written there: `notifications.listen`."""
    return partial(listen, _connection_options(url))


def obstacle_of(url: str) -> Callable[[BaseException | None], str]:
    """Why the database there does not answer, by the driver's error."""
    place = _place(_connection_options(url))
    return lambda error: f"the controller has no connection to its database: {postgresql_obstacle(place, error)}"


@contextlib.contextmanager
def _connected(url: str) -> Iterator[tuple[Engine, str]]:
    """The engine, and the database for people. An error within disposes of the engine."""
    options = _connection_options(url)
    place = _place(options)
    engine = _engine(options)
    try:
        yield engine, place
    except DBAPIError as error:
        engine.dispose()
        reason = postgresql_obstacle(place, error.orig)
        raise NoDatabaseError(f"the controller cannot open its database: {reason}") from None
    except BaseException:
        engine.dispose()
        raise


def _connection_options(url: str) -> dict[str, Any]:
    try:
        from psycopg import ProgrammingError
        from psycopg.conninfo import conninfo_to_dict
    except ImportError:
        raise StoreError(
            "expected psycopg, by which a controller reaches PostgreSQL, found none: "
            "pip install 'gatewright[postgresql]', or keep APIs in sqlite:PATH"
        ) from None
    try:
        return {**DEFAULTS, **conninfo_to_dict(url)}
    except ProgrammingError as error:
        reason = " ".join(str(error).split())
        raise StoreError(f"expected a database such as {URL}, got one that cannot be read: {reason}") from None


def _engine(options: dict[str, Any]) -> Engine:
    from gatewright_controller.store.bounded_connection import BoundedConnection  # here, for psycopg is optional

    engine = create_engine(
        "postgresql+psycopg://",
        creator=lambda: BoundedConnection.connect(**options),
        pool_size=CONNECTIONS,
        max_overflow=0,
        pool_pre_ping=True,
    )

    @event.listens_for(engine, "connect")
    def _set_up(connection: BoundedConnection, _: object) -> None:
        for statement in SESSION:
            connection.execute(statement)
        connection.commit()

    return engine


def _place(options: dict[str, Any]) -> str:
    """The database for people, without its password."""
    hosts, ports = str(options.get("host", "")).split(","), str(options.get("port", "")).split(",")
    servers = itertools.zip_longest(hosts, ports, fillvalue=ports[-1])  # one port may be that of all hosts
    addresses = ",".join(f"{host}:{port}" if port else host for host, port in servers)
    user = f"{options['user']}@" if options.get("user") else ""
    return f"postgresql://{user}{addresses}/{options.get('dbname', '')}"
