"""Where resources and their history are kept: what a store does (`contract`), in SQLite or PostgreSQL (`databases`)."""

from gatewright_controller.store.authors import ANY_TERMS, NO_OWNER, UNKNOWN, Author, ExpectedRevisions, Terms
from gatewright_controller.store.contract import Store
from gatewright_controller.store.databases import open_store
from gatewright_controller.store.errors import (
    ApiExistsError,
    ContextTakenError,
    NoDatabaseError,
    NoSuchApiError,
    NoSuchRevisionError,
    OtherOwnerError,
    OtherRevisionError,
    StorageError,
    StoreError,
)
from gatewright_controller.store.resources import (
    API,
    GATEWAY,
    THE_GATEWAY,
    Batch,
    Entry,
    PastResource,
    StoredApi,
    StoredGateway,
    WrittenBatch,
    context_of,
    is_same,
    kept_document,
    refuse,
)

__all__ = [
    "ANY_TERMS",
    "API",
    "GATEWAY",
    "NO_OWNER",
    "THE_GATEWAY",
    "UNKNOWN",
    "ApiExistsError",
    "Author",
    "Batch",
    "ContextTakenError",
    "Entry",
    "ExpectedRevisions",
    "NoDatabaseError",
    "NoSuchApiError",
    "NoSuchRevisionError",
    "OtherOwnerError",
    "OtherRevisionError",
    "PastResource",
    "StorageError",
    "Store",
    "StoreError",
    "StoredApi",
    "StoredGateway",
    "Terms",
    "WrittenBatch",
    "context_of",
    "is_same",
    "kept_document",
    "open_store",
    "refuse",
]
