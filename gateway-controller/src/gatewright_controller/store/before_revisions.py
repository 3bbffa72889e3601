"""Databases of versions 1 to 5, which kept APIs and a Gateway in SQLite without their history, brought to this one.

Each step leads to the next version; all of them are part of the one transaction of `bring_over`.
"""

from __future__ import annotations

import json
import logging
import sqlite3

from gatewright_documents.values import JsonObject
from sqlalchemy import Connection

from gatewright_controller.model import from_document
from gatewright_controller.resource import hosts
from gatewright_controller.resource.claims import claims_of
from gatewright_controller.resource.versions import attachments, with_exact_versions
from gatewright_controller.store import migrations
from gatewright_controller.store.authors import UNKNOWN
from gatewright_controller.store.resources import API, GATEWAY, THE_GATEWAY, encode_api

log = logging.getLogger(__name__)
REASON = "was here before revisions were kept"
COLUMNS = "document, revision, created_at, updated_at, versions"
APIS = """
    name TEXT PRIMARY KEY,
    document TEXT NOT NULL,
    revision INTEGER NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    versions TEXT NOT NULL
"""
CLAIMS = """
CREATE TABLE claims (
    host TEXT NOT NULL,
    context TEXT NOT NULL,
    listener TEXT NOT NULL,
    api TEXT NOT NULL,
    PRIMARY KEY (host, context, listener)
) WITHOUT ROWID
"""
CLAIMS_INDEX = "CREATE INDEX claims_of ON claims (api)"
GATEWAY_TABLE = """
CREATE TABLE IF NOT EXISTS gateway (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    document TEXT NOT NULL,
    revision INTEGER NOT NULL,
    updated_at TEXT NOT NULL
)
"""


def _ask_by_major_version(connection: sqlite3.Connection) -> None:
    """From version 1, in which an attachment had only the exact version that `v1` once meant: it asks for `v1` again.

    It is not known whether the API asked for the exact version; as long as the build has it, that makes no difference.
    """
    connection.execute("ALTER TABLE apis ADD COLUMN versions TEXT NOT NULL DEFAULT '[]'")
    for name, document in connection.execute("SELECT name, document FROM apis").fetchall():
        api = from_document(json.loads(document))
        versions = tuple(attachment.version for _, attachment in attachments(api))
        asked = with_exact_versions(api, tuple(version.partition(".")[0] for version in versions))
        row = (encode_api(asked), json.dumps(versions), name)
        connection.execute("UPDATE apis SET document = ?, versions = ? WHERE name = ?", row)
    log.info("database brought to version 2: APIs ask for v1 of a policy, and keep the exact version that they have")


def _keep_loose_paths(connection: sqlite3.Connection) -> None:
    """From version 2, which knew no `strictPaths`: what an API answered then, it answers still."""
    for name, text in connection.execute("SELECT name, document FROM apis").fetchall():
        document: JsonObject = json.loads(text)
        document["spec"]["strictPaths"] = False
        changed = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
        connection.execute("UPDATE apis SET document = ? WHERE name = ?", (changed, name))
    log.info("database brought to version 3: the APIs in it have strictPaths: false")


def _claim_contexts(connection: sqlite3.Connection) -> None:
    """From version 3, in which a context was one API's on every host."""
    connection.execute(f"CREATE TABLE moved ({APIS}) WITHOUT ROWID")
    columns = f"name, {COLUMNS}"
    connection.execute(f"INSERT INTO moved ({columns}) SELECT {columns} FROM apis")  # noqa: S608 - constants
    connection.execute(CLAIMS)
    connection.execute(f"INSERT INTO claims SELECT '{hosts.EVERY_HOST}', context, '', name FROM apis")  # noqa: S608
    connection.execute("DROP TABLE apis")
    connection.execute("ALTER TABLE moved RENAME TO apis")
    connection.execute(CLAIMS_INDEX)
    log.info("database brought to version 4: a context is an API's on its hosts")


def _claim_listeners(connection: sqlite3.Connection) -> None:
    """From version 4, in which a context on a host was one API's on every listener."""
    joined = "SELECT host, context, api, document FROM claims JOIN apis ON apis.name = claims.api"
    rows = connection.execute(joined).fetchall()
    connection.execute("DROP TABLE claims")
    connection.execute(CLAIMS)
    for host, context, name, text in rows:
        for claim in claims_of([host], context, json.loads(text)["spec"].get("listeners", [])):
            connection.execute("INSERT INTO claims VALUES (?, ?, ?, ?)", (*claim, name))
    connection.execute(CLAIMS_INDEX)
    log.info("database brought to version 5: a context is an API's on its listeners")


STEPS = (_ask_by_major_version, _keep_loose_paths, _claim_contexts, _claim_listeners)
"""From each version to the next."""


TABLES = ("revision", "apis", "claims", "gateway")
COPY = (
    "UPDATE revision SET value = (SELECT value FROM before_revision)",
    "INSERT INTO claims (host, context, listener, api) SELECT host, context, listener, api FROM before_claims",
    """
    INSERT INTO resources (kind, name, document, revision, created_at, updated_at, versions, owner)
    SELECT :api, name, document, revision, created_at, updated_at, versions, '' FROM before_apis
    """,
    """
    INSERT INTO resources (kind, name, document, revision, created_at, updated_at, versions, owner)
    SELECT :gateway, :the_gateway, document, revision, updated_at, updated_at, '[]', '' FROM before_gateway
    """,
    """
    INSERT INTO history
    (kind, name, revision, action, document, versions, owner, at, actor, origin, reason, counterpart)
    SELECT kind, name, revision, 'created', document, versions, owner, updated_at, :actor, '', :reason, ''
    FROM resources
    """,
)
PARAMETERS = {
    "api": API,
    "gateway": GATEWAY,
    "the_gateway": THE_GATEWAY,
    "actor": UNKNOWN.actor,
    "reason": REASON,
}


def bring_over(connection: Connection, version: int) -> None:
    """From any of these versions to the newest, in the transaction of the connection: each resource gets one entry of
    history."""
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    for step in STEPS[version - 1 :]:
        step(driver)
    driver.execute(GATEWAY_TABLE)
    driver.execute("DROP INDEX claims_of")
    for table in TABLES:
        driver.execute(f"ALTER TABLE {table} RENAME TO before_{table}")
    migrations.create(connection)
    for statement in COPY:
        driver.execute(statement, PARAMETERS)
    for table in TABLES:
        driver.execute(f"DROP TABLE before_{table}")
    log.info("database brought to version %d: each resource has a history", migrations.newest(migrations.MIGRATIONS)[0])
