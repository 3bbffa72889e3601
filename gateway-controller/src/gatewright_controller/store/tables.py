"""The tables, as they are in this version. What changes in them gets a migration (`migrations`)."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, PrimaryKeyConstraint, Table, Text, UniqueConstraint

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
    Index("history_in_order", "revision"),
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

tokens = Table(
    "tokens",
    metadata,
    Column("name", BYTEWISE, primary_key=True),
    Column("digest", Text, nullable=False),
    Column("token", Text, nullable=False),
    UniqueConstraint("digest", name="tokens_digest"),
)
"""`token`: all that is known of one, as JSON; `digest`: of its text."""

consumer_keys = Table(
    "consumer_keys",
    metadata,
    Column("consumer", BYTEWISE, nullable=False),
    Column("name", BYTEWISE, nullable=False),
    Column("digest", Text, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("expires_at", Text, nullable=False),
    PrimaryKeyConstraint("consumer", "name", name="consumer_keys_key"),
    UniqueConstraint("digest", name="consumer_keys_digest"),
)
"""Keys of consumers. `digest`: of a key's text."""

consumer_key_changes = Table(
    "consumer_key_changes",
    metadata,
    Column("consumer", BYTEWISE, primary_key=True),
    Column("revision", BigInteger, nullable=False),
    Index("consumer_key_changes_in_order", "revision"),
)
"""The revision of the newest write of a consumer's keys, for controllers that follow another one."""

audit = Table(
    "audit",
    metadata,
    Column("number", BigInteger().with_variant(Integer(), "sqlite"), primary_key=True),
    Column("at", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("origin", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("name", BYTEWISE, nullable=False),
    Column("revision", BigInteger),
    Column("status", Integer, nullable=False),
    Column("detail", Text, nullable=False),
)
"""A row for each write, also one that was refused, in the order in which they happened. What a write has changed is in
`history`, by kind, name and revision."""
