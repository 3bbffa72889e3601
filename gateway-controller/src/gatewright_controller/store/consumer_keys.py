"""Keys of consumers in their table: data, which no document has and no history keeps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
from msgspec.structs import asdict
from sqlalchemy import Connection, delete, insert, select, update

from gatewright_controller.store.errors import (
    ConsumerKeyExistsError,
    ConsumerKeyInUseError,
    NoSuchConsumerKeyError,
)
from gatewright_controller.store.tables import consumer_key_changes, consumer_keys

MOST_KEYS = 32
"""Of a consumer."""


class ConsumerKey(msgspec.Struct, frozen=True):
    """What is known of a key but its text. digest: SHA-256 of its text, hex. Times are RFC 3339, UTC; expires_at: ""
    for never."""

    consumer: str
    name: str
    digest: str
    created_at: str
    created_by: str
    expires_at: str = ""


_KEYS = select(
    consumer_keys.c.consumer,
    consumer_keys.c.name,
    consumer_keys.c.digest,
    consumer_keys.c.created_at,
    consumer_keys.c.created_by,
    consumer_keys.c.expires_at,
).order_by(consumer_keys.c.consumer, consumer_keys.c.name)


def read_keys(connection: Connection, consumer: str | None = None) -> Sequence[ConsumerKey]:
    """By consumer and name. consumer: of this one alone."""
    statement = _KEYS if consumer is None else _KEYS.where(consumer_keys.c.consumer == consumer)
    return [ConsumerKey(*row) for row in connection.execute(statement)]


def insert_key(connection: Connection, key: ConsumerKey, revision: int) -> None:
    """Raises `ConsumerKeyExistsError`, `ConsumerKeyInUseError`."""
    names = [known.name for known in read_keys(connection, key.consumer)]
    if key.name in names or len(names) >= MOST_KEYS:
        raise ConsumerKeyExistsError(key.consumer, key.name if key.name in names else "")
    if connection.execute(select(consumer_keys.c.name).where(consumer_keys.c.digest == key.digest)).first():
        raise ConsumerKeyInUseError
    connection.execute(insert(consumer_keys).values(**asdict(key)))
    _note_change(connection, key.consumer, revision)


def delete_key(connection: Connection, consumer: str, name: str, revision: int) -> None:
    """Raises `NoSuchConsumerKeyError`."""
    of_name = (consumer_keys.c.consumer == consumer) & (consumer_keys.c.name == name)
    if "\0" in consumer + name or not connection.execute(delete(consumer_keys).where(of_name)).rowcount:
        raise NoSuchConsumerKeyError(consumer, name)
    _note_change(connection, consumer, revision)


def delete_keys(connection: Connection, consumer: str) -> None:
    """All of a consumer that goes."""
    connection.execute(delete(consumer_keys).where(consumer_keys.c.consumer == consumer))
    connection.execute(delete(consumer_key_changes).where(consumer_key_changes.c.consumer == consumer))


def changed_since(connection: Connection, revision: int) -> Iterable[str]:
    """Names of the consumers whose keys have changed after this revision."""
    changed = select(consumer_key_changes.c.consumer).where(consumer_key_changes.c.revision > revision)
    return connection.execute(changed).scalars()


def _note_change(connection: Connection, consumer: str, revision: int) -> None:
    of_consumer = consumer_key_changes.c.consumer == consumer
    if not connection.execute(update(consumer_key_changes).where(of_consumer).values(revision=revision)).rowcount:
        connection.execute(insert(consumer_key_changes).values(consumer=consumer, revision=revision))
