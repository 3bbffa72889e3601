"""Several writes of one transaction: all have its revision, and each an entry in the history of its resource."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gatewright_controller.model import Api
from gatewright_controller.resource.versions import Versions
from gatewright_controller.store.authors import NO_OWNER
from gatewright_controller.store.errors import WrittenMeanwhileError
from gatewright_controller.store.resources import (
    API,
    GATEWAY,
    THE_GATEWAY,
    Action,
    Batch,
    StoredApi,
    StoredGateway,
    StoredResource,
    WrittenBatch,
    owner_after,
    refuse,
)
from gatewright_controller.store.transaction import Transaction, read_apis, read_gateway, read_resource


def write_batch(batch: Batch, transaction: Transaction) -> WrittenBatch:
    """A context may pass from one API to another. Raises `NoSuchApiError`, `ContextTakenError`, and where a resource is
    not what the write is for `OtherRevisionError`, `OtherOwnerError`, `WrittenMeanwhileError`.
    """
    going = {name: transaction.existing(name) for name in (*batch.deleted, *batch.renamed.values())}
    present = _present(batch, transaction)
    _refuse_written_meanwhile(batch, {**present, **going})
    for name in batch.deleted:
        transaction.delete(going[name])
    for api, versions in batch.apis:
        _write(api, versions, transaction, going.get(batch.renamed.get(api.metadata.name, "")), present)
    return WrittenBatch(transaction.revision, _write_gateway(batch, transaction), _write_resources(batch, transaction))


def _refuse_written_meanwhile(batch: Batch, stored: Mapping[str, StoredApi]) -> None:
    if batch.seen is None:
        return
    for name in (*(api.metadata.name for api, _ in batch.apis), *stored):
        if (stored[name].revision if name in stored else 0) != batch.seen.get(name, 0):
            raise WrittenMeanwhileError(name)


def _present(batch: Batch, transaction: Transaction) -> dict[str, StoredApi]:
    present = read_apis(transaction.connection, (api.metadata.name for api, _ in batch.apis))
    for name, stored in present.items():
        refuse(API, name, stored, transaction.terms)
    return present


def _write(
    api: Api, versions: Versions, transaction: Transaction, old: StoredApi | None, present: Mapping[str, StoredApi]
) -> None:
    name = api.metadata.name
    if old:
        transaction.delete(old, "renamed", f"{name}@{transaction.revision}")
        was = f"{old.name}@{old.revision}"
        transaction.insert(api, versions, "renamed", was, created_at=old.created_at, owner=old.owner)
    elif name in present:
        transaction.update(present[name], api, versions)
    else:
        transaction.insert(api, versions)


def _write_resources(batch: Batch, transaction: Transaction) -> Sequence[StoredResource]:
    """Raises `WrittenMeanwhileError`, and where one is not what the write is for."""
    written = []
    for (kind, name), document in batch.resources.items():
        stored = read_resource(transaction.connection, kind, name)
        if (stored.revision if stored else 0) != batch.seen_resources.get((kind, name), 0):
            raise WrittenMeanwhileError(name)
        refuse(kind, name, stored, transaction.terms)
        if document is not None:
            action: Action = "changed" if stored else "created"
            written.append(transaction.put_resource(kind, stored, document, action))
        elif stored:
            transaction.delete_resource(stored)
    return tuple(written)


def _write_gateway(batch: Batch, transaction: Transaction) -> StoredGateway | None:
    if batch.gateway is None and not batch.deletes_gateway:
        return None
    stored = read_gateway(transaction.connection)
    refuse(GATEWAY, THE_GATEWAY, stored, transaction.terms)
    if batch.gateway is not None:
        owner = owner_after(stored.owner if stored else NO_OWNER, transaction.terms)
        return transaction.put_gateway(stored, batch.gateway, "changed" if stored else "created", "", owner)
    if stored:
        transaction.delete_gateway(stored)
    return None
