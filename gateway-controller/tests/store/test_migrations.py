"""Tables as this version has them, and controllers of two versions at one database."""

from __future__ import annotations

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.operations import Operations
from gatewright_controller.resource.claims import ATTACHED, Claim
from gatewright_controller.store import API, Author, StoreError, Terms
from gatewright_controller.store.databases import open_sql_store
from gatewright_controller.store.migrations import FIRST_VERSION, MIGRATIONS, Migration, newest
from gatewright_controller.store.tables import metadata
from sqlalchemy import Column, Text, text

from .apis import api, attached

NEXT = newest(MIGRATIONS)[0] + 1


def _add_notes(operations: Operations) -> None:
    operations.add_column("resources", Column("note", Text, nullable=False, server_default="none"))
    operations.create_table("notes", Column("text", Text, primary_key=True))


COMPATIBLE = (*MIGRATIONS, Migration(NEXT, readable_from=NEXT - 1, change="notes", upgrade=_add_notes))
"""What the next version knows, whose tables controllers of this version can use."""
INCOMPATIBLE = (*MIGRATIONS, Migration(NEXT, readable_from=NEXT, change="notes", upgrade=_add_notes))


def test_migrations_are_numbered_in_a_row() -> None:
    assert [migration.version for migration in MIGRATIONS] == [
        *range(FIRST_VERSION + 1, FIRST_VERSION + 1 + len(MIGRATIONS))
    ]


def test_a_new_database_has_the_tables_that_the_code_has(database: str) -> None:
    store = open_sql_store(database)
    with store.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    store.close()


def test_a_controller_of_this_version_works_beside_one_of_the_next(database: str) -> None:
    """N-1 beside N: each goes on with what the other writes, and neither loses the other's."""
    this = open_sql_store(database)
    this.create(api("before", "/before"))
    following = open_sql_store(database, COMPATIBLE)
    this.create(api("this", "/this"), ("v1",), Terms(Author("token"), "team"))
    following.create(api("following", "/following"))
    this.replace(api("following", "/changed"))
    following.delete("before")
    assert [kept.name for kept in this.list()] == [kept.name for kept in following.list()] == ["following", "this"]
    assert this.revision == following.revision == 5
    assert [entry.action for entry in following.history(API, "following")] == ["changed", "created"]
    with following.engine.connect() as connection:
        assert {*connection.execute(text("SELECT note FROM resources")).scalars()} == {"none"}
    this.close()
    following.close()
    again = open_sql_store(database)
    assert again.get("this").owner == "team", "one of this version also starts there"
    again.close()


def test_a_controller_that_the_tables_are_too_new_for_is_refused_in_words(database: str) -> None:
    open_sql_store(database, INCOMPATIBLE).close()
    with pytest.raises(StoreError) as refused:
        open_sql_store(database)
    assert f"expected a database of version {NEXT - 1}, or a newer one" in str(refused.value)
    assert f"got {NEXT}, which can be used from {NEXT} on; use a newer controller" in str(refused.value)
    assert "s3cret" not in str(refused.value)


def test_a_migration_that_fails_changes_nothing(database: str) -> None:
    def fail(operations: Operations) -> None:
        _add_notes(operations)
        raise RuntimeError("no")

    this = open_sql_store(database)
    this.create(api("kept", "/kept"))
    with pytest.raises(RuntimeError, match="no"):
        open_sql_store(database, (*MIGRATIONS, Migration(NEXT, NEXT, "notes", fail)))
    this.create(api("more", "/more"))
    with this.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    this.close()


def test_attached_apis_of_version_8_get_their_names_in_place_of_their_contexts(database: str) -> None:
    """Of two with one name the older one gets it, as a node has it; both stay."""
    before = open_sql_store(database, [migration for migration in MIGRATIONS if migration.version < 9])
    before.create(attached("older", "/a", "shop", "cart/*"))
    before.create(attached("younger", "/b", "SHOP", "pay"))
    before.create(api("usual", "/c"))
    with before.engine.begin() as connection:  # as version 8 has written them
        connection.execute(text("UPDATE resources SET document = replace(document, 'SHOP', 'shop')"))
        connection.execute(text("DELETE FROM claims WHERE api <> 'usual'"))
        connection.execute(text("INSERT INTO claims VALUES ('*', '/a', '', 'older'), ('*', '/b', '', 'younger')"))
    before.close()
    for _ in range(2):
        store = open_sql_store(database)
        names = {"shop": "older", "cart/*": "older", "pay": "younger"}
        held = {Claim(ATTACHED, name, ""): owner for name, owner in names.items()}
        assert store.claims() == {**held, Claim("*", "/c", ""): "usual"}
        store.close()
    store = open_sql_store(database)
    store.create(api("again", "/a"))
    store.delete("older")
    store.replace(attached("younger", "/b", "shop"))
    assert store.claims()[Claim(ATTACHED, "shop", "")] == "younger"
    store.close()
