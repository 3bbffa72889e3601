"""The tables, as they are in this version. What changes in them gets a migration (`migrations`)."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, PrimaryKeyConstraint, Table, Text

BYTEWISE = Text().with_variant(Text(collation="C"), "postgresql")
"""Text in the order of its bytes, as SQLite has it, whatever the language of the database."""

metadata = MetaData()

schema_version = Table(
    "schema_version",
    metadata,
    Column("version", Integer, nullable=False),
    Column("readable_from", Integer, nullable=False),
)
"""One row: the version of these tables, and the oldest version whose controllers can use them."""

revision = Table("revision", metadata, Column("value", BigInteger, nullable=False))
"""One row, which every write locks by its first statement: so writes get their numbers in the order in which they are
committed."""

resources = Table(
    "resources",
    metadata,
    Column("kind", BYTEWISE, nullable=False),
    Column("name", BYTEWISE, nullable=False),
    Column("document", Text, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("updated_at", Text, nullable=False),
    Column("versions", Text, nullable=False),
    Column("owner", Text, nullable=False),
    PrimaryKeyConstraint("kind", "name", name="resources_key"),
    sqlite_with_rowid=False,
)

history = Table(
    "history",
    metadata,
    Column("kind", BYTEWISE, nullable=False),
    Column("name", BYTEWISE, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("action", Text, nullable=False),
    Column("document", Text),
    Column("versions", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("at", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("origin", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("counterpart", Text, nullable=False),
    PrimaryKeyConstraint("kind", "name", "revision", name="history_key"),
)
"""A row for each write of a resource. Documents are large: rows are apart from their key, which lists are read by."""

claims = Table(
    "claims",
    metadata,
    Column("host", BYTEWISE, nullable=False),
    Column("context", BYTEWISE, nullable=False),
    Column("listener", BYTEWISE, nullable=False),
    Column("api", BYTEWISE, nullable=False),
    PrimaryKeyConstraint("host", "context", "listener", name="claims_key"),
    Index("claims_of", "api"),
    sqlite_with_rowid=False,
)
"""What APIs have alone (`resource.claims`)."""
