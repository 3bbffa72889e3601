"""What one writing transaction does: rows of resources, their claims and their history."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from gatewright_documents.values import JsonObject
from sqlalchemy import Connection, Executable, Row, and_, bindparam, delete, insert, select, update

from gatewright_controller.model import Api, from_document
from gatewright_controller.resource.claims import Claim, claims_of_api
from gatewright_controller.resource.versions import Versions
from gatewright_controller.store.audit_rows import AuditEntry, insert_entries
from gatewright_controller.store.authors import NO_OWNER, Author, Terms
from gatewright_controller.store.consumer_keys import delete_keys
from gatewright_controller.store.errors import ContextTakenError, NoSuchApiError
from gatewright_controller.store.resources import (
    API,
    CONSUMER,
    GATEWAY,
    THE_GATEWAY,
    Action,
    StoredApi,
    StoredGateway,
    StoredResource,
    encode,
    encode_api,
    name_in,
    owner_after,
    refuse,
)
from gatewright_controller.store.tables import claims, history, resources

RESOURCE = (
    resources.c.document,
    resources.c.revision,
    resources.c.created_at,
    resources.c.updated_at,
    resources.c.versions,
    resources.c.owner,
)
Columns = Row[*tuple[Any, ...]]
KEY = and_(resources.c.kind == bindparam("of_kind"), resources.c.name == bindparam("of_name"))
READ = select(*RESOURCE).where(KEY)
READ_SOME = select(*RESOURCE).where(resources.c.kind == API).order_by(resources.c.name)
HOLDERS = select(claims.c.host, claims.c.context, claims.c.listener, claims.c.api)
NAMES_AT_ONCE = 500
INSERT = insert(resources)
UPDATE = (
    update(resources)
    .where(KEY)
    .values({name: bindparam(f"new_{name}") for name in ("document", "revision", "updated_at", "versions", "owner")})
)
DELETE = delete(resources).where(KEY)
INSERT_ENTRY = insert(history)
INSERT_CLAIM = insert(claims)
DELETE_CLAIMS = delete(claims).where(claims.c.api == bindparam("of_api"))


def read_api(connection: Connection, name: str) -> StoredApi | None:
    """The API of this name, if there is one."""
    row = _read(connection, API, name)
    return decode_api(row) if row else None


def read_apis(connection: Connection, names: Iterable[str]) -> dict[str, StoredApi]:
    """The APIs of these names, as far as there are any, in the order of their names."""
    some = (READ_SOME.where(resources.c.name.in_(portion)) for portion in _portions(names))
    rows = (row for statement in some for row in connection.execute(statement))
    return {stored.name: stored for stored in map(decode_api, rows)}


def read_holders(connection: Connection, wanted: Iterable[Claim]) -> dict[Claim, str]:
    """What APIs have at the same hosts and contexts, on any listener → their names."""
    contexts: dict[str, set[str]] = {}
    for claim in wanted:
        if "\0" not in claim.host:
            contexts.setdefault(claim.host, set()).add(claim.context)
    rows = (
        row
        for host, at_host in contexts.items()
        for some in _portions(at_host)
        for row in connection.execute(HOLDERS.where(claims.c.host == host, claims.c.context.in_(some)))
    )
    return decode_claims(rows)


def decode_claims(rows: Iterable[Row[*tuple[Any, ...]]]) -> dict[Claim, str]:
    """Of rows with the columns of HOLDERS."""
    return {Claim(host, context, listener): api for host, context, listener, api in rows}


def _portions(names: Iterable[str]) -> Iterator[list[str]]:
    """What a statement can name at once: SQLite takes a bounded number of parameters, PostgreSQL no text with \\0."""
    whole = sorted(name for name in names if "\0" not in name)
    return (whole[start : start + NAMES_AT_ONCE] for start in range(0, len(whole), NAMES_AT_ONCE))


def read_gateway(connection: Connection) -> StoredGateway | None:
    """The Gateway that is stored, if there is one."""
    if (row := _read(connection, GATEWAY, THE_GATEWAY)) is None:
        return None
    return StoredGateway(json.loads(row.document), row.revision, row.updated_at, row.owner)


def read_resource(connection: Connection, kind: str, name: str) -> StoredResource | None:
    """The resource of another kind, if there is one."""
    row = _read(connection, kind, name)
    return decode_resource(kind, row) if row else None


def read_resources(connection: Connection, kind: str, names: Iterable[str]) -> list[StoredResource]:
    """The resources of another kind of these names, as far as there are any, by name."""
    of_kind = select(*RESOURCE).where(resources.c.kind == kind).order_by(resources.c.name)
    some = (of_kind.where(resources.c.name.in_(portion)) for portion in _portions(names))
    return [decode_resource(kind, row) for statement in some for row in connection.execute(statement)]


def decode_resource(kind: str, row: Columns) -> StoredResource:
    """The resource of a row with the columns of RESOURCE."""
    document, revision, created_at, updated_at, _, owner = row
    return StoredResource(kind, json.loads(document), revision, created_at, updated_at, owner)


def _read(connection: Connection, kind: str, name: str) -> Columns | None:
    if "\0" in name:  # which PostgreSQL has in no text, and no name has
        return None
    return connection.execute(READ, {"of_kind": kind, "of_name": name}).one_or_none()


def decode_api(row: Columns) -> StoredApi:
    """The API of a row with the columns of RESOURCE."""
    document, revision, created_at, updated_at, versions, owner = row
    api = from_document(json.loads(document))
    return StoredApi(api, revision, created_at, updated_at, tuple(json.loads(versions)), owner)


class Transaction:
    """The writes of one revision, each with its entry in the history. now: RFC 3339, UTC.

    Rows that come wait for `flush`, which sends all of a kind by one statement: so a context may pass from one API of
    the transaction to another.
    """

    def __init__(self, connection: Connection, revision: int, now: str, terms: Terms) -> None:
        self.connection, self.revision, self.now, self.terms = connection, revision, now, terms
        self._rows: dict[Executable, list[dict[str, Any]]] = {DELETE: [], INSERT: [], UPDATE: [], INSERT_ENTRY: []}
        self._released = set[str]()
        self._claims: dict[Claim, str] = {}
        self._audited: list[AuditEntry] = []

    def flush(self) -> None:
        """Sends the rows that wait. Raises `ContextTakenError`."""
        if names := sorted(self._released.union(self._claims.values())):
            self.connection.execute(DELETE_CLAIMS, [{"of_api": name} for name in names])
        self._refuse_taken()
        self._rows[INSERT_CLAIM] = [{**claim._asdict(), "api": name} for claim, name in self._claims.items()]
        for statement, rows in self._rows.items():
            if rows:
                self.connection.execute(statement, rows)
        insert_entries(self.connection, self._audited)

    def _refuse_taken(self) -> None:
        """Raises `ContextTakenError` for a claim that clashes with another API's, which may get its own right now."""
        held = [*read_holders(self.connection, self._claims).items(), *self._claims.items()]
        by_place: dict[tuple[str, str], list[tuple[Claim, str]]] = {}
        for claim, name in held:
            by_place.setdefault((claim.host, claim.context), []).append((claim, name))
        for claim, name in self._claims.items():
            for other, owner in by_place[claim.host, claim.context]:
                if owner != name and claim.clashes(other):
                    raise ContextTakenError(claim.host, claim.context, owner)

    def existing(self, name: str) -> StoredApi:
        """Raises `NoSuchApiError`, and where the API is not what the write is for."""
        if (stored := read_api(self.connection, name)) is None:
            raise NoSuchApiError(name)
        refuse(API, name, stored, self.terms)
        return stored

    def insert(
        self,
        api: Api,
        versions: Versions,
        action: Action = "created",
        counterpart: str = "",
        *,
        created_at: str = "",
        owner: str = NO_OWNER,
    ) -> StoredApi:
        """An API that is not there. Raises `NotPermittedError`, `ContextTakenError`."""
        self.terms.permit.refuse_others(api)
        self._claim(api)
        stored = StoredApi(
            api, self.revision, created_at or self.now, self.now, versions, owner_after(owner, self.terms)
        )
        document = encode_api(api)
        self._insert(API, api.metadata.name, document, stored.created_at, json.dumps(versions), stored.owner)
        self.note(API, stored.name, action, stored.owner, document, versions, counterpart)
        return stored

    def update(
        self, old: StoredApi, api: Api, versions: Versions, action: Action = "changed", counterpart: str = ""
    ) -> StoredApi:
        """An API in the place of one that is there. Raises `NotPermittedError`, `ContextTakenError`."""
        self.terms.permit.refuse_others(api)
        self._claim(api)
        owner = owner_after(old.owner, self.terms)
        document = encode_api(api)
        self._update(API, old.name, document, json.dumps(versions), owner)
        self.note(API, old.name, action, owner, document, versions, counterpart)
        return StoredApi(api, self.revision, old.created_at, self.now, versions, owner)

    def delete(self, stored: StoredApi, action: Action = "deleted", counterpart: str = "") -> None:
        """The API goes, with its claims."""
        self._rows[DELETE].append({"of_kind": API, "of_name": stored.name})
        self._released.add(stored.name)
        self.note(API, stored.name, action, stored.owner, counterpart=counterpart)

    def put_gateway(
        self, old: StoredGateway | None, document: JsonObject, action: Action, counterpart: str, owner: str
    ) -> StoredGateway:
        """The Gateway, in the place of the one that there is."""
        text = encode(document)
        if old:
            self._update(GATEWAY, THE_GATEWAY, text, "[]", owner)
        else:
            self._insert(GATEWAY, THE_GATEWAY, text, self.now, "[]", owner)
        self.note(GATEWAY, THE_GATEWAY, action, owner, text, counterpart=counterpart)
        return StoredGateway(document, self.revision, self.now, owner)

    def delete_gateway(self, old: StoredGateway) -> None:
        """The Gateway goes."""
        self._rows[DELETE].append({"of_kind": GATEWAY, "of_name": THE_GATEWAY})
        self.note(GATEWAY, THE_GATEWAY, "deleted", old.owner)

    def put_resource(
        self,
        kind: str,
        old: StoredResource | None,
        document: JsonObject,
        action: Action,
        counterpart: str = "",
        owner: str = NO_OWNER,
    ) -> StoredResource:
        """A resource of another kind, in the place of the one that there is. owner: whose it was. Raises
        `NotPermittedError`."""
        self.terms.permit.refuse_write(kind)
        self.terms.permit.refuse_other_resources(kind, document)
        name, text = name_in(document), encode(document)
        owner = owner_after(old.owner if old else owner, self.terms)
        if old:
            self._update(kind, name, text, "[]", owner)
        else:
            self._insert(kind, name, text, self.now, "[]", owner)
        self.note(kind, name, action, owner, text, counterpart=counterpart)
        return StoredResource(kind, document, self.revision, old.created_at if old else self.now, self.now, owner)

    def delete_resource(self, old: StoredResource) -> None:
        """The resource goes, a consumer with its keys. Raises `NotPermittedError`."""
        self.terms.permit.refuse_write(old.kind)
        if old.kind == CONSUMER:
            delete_keys(self.connection, old.name)
        self._rows[DELETE].append({"of_kind": old.kind, "of_name": old.name})
        self.note(old.kind, old.name, "deleted", old.owner)

    def note(
        self,
        kind: str,
        name: str,
        action: Action,
        owner: str,
        document: str | None = None,
        versions: Versions = (),
        counterpart: str = "",
    ) -> None:
        """The entries of this write in the history of a resource and in the audit log."""
        author: Author = self.terms.author
        self._rows[INSERT_ENTRY].append(
            {
                "kind": kind,
                "name": name,
                "revision": self.revision,
                "action": action,
                "document": document,
                "versions": json.dumps(versions),
                "owner": owner,
                "at": self.now,
                "actor": author.actor,
                "origin": author.origin,
                "reason": author.reason,
                "counterpart": counterpart,
            },
        )
        self.audit(action, kind, name)

    def audit(self, action: str, kind: str, name: str) -> None:
        """The entry of this write in the audit log."""
        self._audited.append(AuditEntry(self.now, self.terms.author, action, kind, name, self.revision))

    def _insert(self, kind: str, name: str, document: str, created_at: str, versions: str, owner: str) -> None:
        row = {"kind": kind, "name": name, "document": document, "revision": self.revision, "created_at": created_at}
        self._rows[INSERT].append({**row, "updated_at": self.now, "versions": versions, "owner": owner})

    def _update(self, kind: str, name: str, document: str, versions: str, owner: str) -> None:
        key = {"of_kind": kind, "of_name": name}
        values = {"document": document, "revision": self.revision, "updated_at": self.now}
        values |= {"versions": versions, "owner": owner}
        self._rows[UPDATE].append({**key, **{f"new_{column}": value for column, value in values.items()}})

    def _claim(self, api: Api) -> None:
        """What the API has alone, in place of what it had before."""
        name = api.metadata.name
        for claim in claims_of_api(api):
            if (owner := self._claims.setdefault(claim, name)) != name:
                raise ContextTakenError(claim.host, claim.context, owner)
