"""Roles, and the rights that each has. Every row of the management API names the right that it needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

Right = Literal[
    "apis:read",
    "apis:write",
    "audit:read",
    "caller:read",
    "consumers:read",
    "consumers:write",
    "defaults:read",
    "defaults:write",
    "exchanges:read",
    "gateway:write",
    "logs:write",
    "namespaces:read",
    "namespaces:write",
    "nodes:connect",
    "nodes:inspect",
    "nodes:read",
    "nodes:write",
    "policies:write",
    "requests:send",
    "secret-keys:write",
    "secrets:read",
    "secrets:write",
    "tokens:write",
]
"""What a client has to be allowed to do. `consumers:write`: also to make keys. `defaults:write`: what APIs of all teams
get. `namespaces:write`: which places are whose. `exchanges:read`: what clients and upstreams have sent.
`nodes:inspect`: what nodes report of themselves, of all APIs. `nodes:write`: to drain them. `secrets:read`: their names
and keys, for no client gets a value. `secret-keys:write`: to encrypt all of them by another key. `nodes:connect`: to be
a node, which is sent all APIs with their secrets."""
WRITING: Mapping[str, Right] = {
    "Defaults": "defaults:write",
    "Namespace": "namespaces:write",
    "NodeGateway": "gateway:write",
}
"""Kinds that a set of resources may have, and that take another right than APIs."""
Role = Literal["admin", "publisher", "viewer", "node"]
ROLES: tuple[Role, ...] = get_args(Role)
PersonRole = Literal["admin", "publisher", "viewer"]
"""Those that a person may have; a node is a program, and has a token."""

BOUND: frozenset[Right] = frozenset(
    (
        "apis:read",
        "apis:write",
        "caller:read",
        "consumers:read",
        "consumers:write",
        "exchanges:read",
        "nodes:connect",
        "nodes:read",
        "requests:send",
        "secrets:read",
        "secrets:write",
    )
)
"""Rights of a grant that is bound to some APIs or nodes: those that concern one of them, or none."""

_VIEWER: frozenset[Right] = frozenset(
    (
        "apis:read",
        "caller:read",
        "consumers:read",
        "defaults:read",
        "namespaces:read",
        "nodes:read",
        "nodes:inspect",
        "secrets:read",
    )
)
RIGHTS: Mapping[Role, frozenset[Right]] = {
    "admin": frozenset(get_args(Right)),
    "publisher": _VIEWER | {"apis:write", "consumers:write", "exchanges:read", "requests:send", "secrets:write"},
    "viewer": _VIEWER,
    "node": frozenset(("caller:read", "nodes:connect")),
}
