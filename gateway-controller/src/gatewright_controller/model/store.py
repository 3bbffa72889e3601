"""Where policies keep the state that they share: in the engine's memory, or in a Valkey."""

from __future__ import annotations

from typing import Annotated

from gatewright_documents.strict import expecting
from msgspec import UNSET, Meta, UnsetType

from gatewright_controller.model.common import FilePath, Strict, Timeout, doc

MIB = 1024**2
Host = Annotated[str, Meta(pattern=r"^[A-Za-z0-9.:-]{1,253}$", extra_json_schema=expecting("a host"))]
Name = Annotated[str, Meta(min_length=1, max_length=256)]


class ValkeyTls(Strict, frozen=True):
    """TLS to the server."""

    authority_file: Annotated[
        FilePath | UnsetType,
        doc("PEM: the authority that signs the server's certificate. Unset: the authorities of the node's system."),
    ] = UNSET
    server_name: Annotated[
        Host | UnsetType, doc("The name that the certificate is for. Unset: the host of `address`.")
    ] = UNSET


class Valkey(Strict, frozen=True, kw_only=True):
    """A Valkey from 7.2, or a Redis from 6.2: one server that takes writes. A cluster is reached by a proxy."""

    address: Annotated[
        str,
        doc(
            "HOST:PORT.",
            pattern=r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+):[0-9]{1,5}$",
            expected="HOST:PORT",
        ),
    ]
    tls: Annotated[ValkeyTls | UnsetType, doc("TLS to the server; {} for its defaults. Unset: in clear.")] = UNSET
    user: Annotated[Name | UnsetType, doc("Of an ACL. Unset: the default user.")] = UNSET
    password_file: Annotated[
        FilePath | UnsetType,
        doc("A file on the node with the password, read anew for each connection. Unset: there is none."),
    ] = UNSET
    prefix: Annotated[
        str,
        doc("All keys begin with it. Gateways that are not to share state have different ones.", max_length=64),
    ] = "gatewright:"
    timeout: Annotated[Timeout, doc("Of one call. While the server does not answer at all, calls fail at once.")] = (
        "100ms"
    )


class Store(Strict, frozen=True):
    """Where `sdk.store` keeps what policies share: docs/how-to/store.md."""

    max_bytes: Annotated[
        int,
        doc(
            "Bytes of the engine's memory that entries may take. When more come, those go that were used longest ago, "
            "of the policy and API that has most.",
            ge=MIB,
            le=64 * 1024 * MIB,
        ),
    ] = 64 * MIB
    valkey: Annotated[
        Valkey | UnsetType, doc("Where entries are in place of the engine's memory: all nodes share them.")
    ] = UNSET
