"""Tokens in their table."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection, delete, insert, select

from gatewright_controller.access import Token
from gatewright_controller.store.errors import NoSuchTokenError, TokenExistsError
from gatewright_controller.store.tables import tokens


def insert_token(connection: Connection, token: Token, digest: str) -> None:
    """Raises `TokenExistsError`."""
    if connection.execute(select(tokens.c.name).where(tokens.c.name == token.name)).one_or_none():
        raise TokenExistsError(token.name)
    values = {"name": token.name, "digest": digest, "token": msgspec.json.encode(token).decode()}
    connection.execute(insert(tokens).values(values))


def delete_token(connection: Connection, name: str) -> None:
    """Raises `NoSuchTokenError`."""
    if "\0" in name or not connection.execute(delete(tokens).where(tokens.c.name == name)).rowcount:
        raise NoSuchTokenError(name)


def read_tokens(connection: Connection) -> Sequence[Token]:
    """All, by name."""
    texts = connection.execute(select(tokens.c.token).order_by(tokens.c.name)).scalars()
    return [msgspec.json.decode(text, type=Token) for text in texts]


def token_of(connection: Connection, digest: str) -> Token | None:
    """The token whose text has this digest, if there is one."""
    text = connection.execute(select(tokens.c.token).where(tokens.c.digest == digest)).scalar_one_or_none()
    return msgspec.json.decode(text, type=Token) if text else None
