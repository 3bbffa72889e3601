"""Where APIs and the Gateway are kept: what a store is (`api_store`), and the one that there is, in SQLite."""

from gatewright_controller.store.api_store import (
    ApiExistsError,
    ContextTakenError,
    ExpectedRevisions,
    NoDatabaseError,
    NoSuchApiError,
    OtherRevisionError,
    StorageError,
    Store,
    StoredApi,
    StoredGateway,
    StoreError,
    context_of,
    is_same,
)
from gatewright_controller.store.sqlite import SqliteStore, open_store

__all__ = [
    "ApiExistsError",
    "ContextTakenError",
    "ExpectedRevisions",
    "NoDatabaseError",
    "NoSuchApiError",
    "OtherRevisionError",
    "SqliteStore",
    "StorageError",
    "Store",
    "StoreError",
    "StoredApi",
    "StoredGateway",
    "context_of",
    "is_same",
    "open_store",
]
