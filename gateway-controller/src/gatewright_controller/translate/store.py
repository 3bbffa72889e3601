"""The store of policies' state, as nodes are sent it."""

from __future__ import annotations

from msgspec import UNSET

from gatewright_controller._gen import node_pb2
from gatewright_controller.model import Store, Valkey
from gatewright_controller.model.common import milliseconds


def translate_store(store: Store) -> node_pb2.Store | None:
    """The message of a valid Gateway; None where it is as nodes have it anyway. Same input, same bytes."""
    if store == Store():
        return None
    message = node_pb2.Store(max_bytes=store.max_bytes)
    if store.valkey is not UNSET:
        message.valkey.CopyFrom(_valkey(store.valkey))
    return message


def _valkey(valkey: Valkey) -> node_pb2.ValkeyStore:
    message = node_pb2.ValkeyStore(
        address=valkey.address,
        user=valkey.user or "",
        password_file=valkey.password_file or "",
        prefix=valkey.prefix,
        timeout_ms=milliseconds(valkey.timeout),
    )
    if valkey.tls is not UNSET:
        message.tls = True
        message.authority_file = valkey.tls.authority_file or ""
        message.server_name = valkey.tls.server_name or ""
    return message
