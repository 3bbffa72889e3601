"""Who asks, and what they may: a caller has grants, each a role for some APIs or for all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec
from gatewright_documents.mistake import Mistake
from gatewright_documents.values import JsonObject

from gatewright_controller.access.roles import BOUND, RIGHTS, WRITING, Right, Role
from gatewright_controller.access.scopes import EVERY_API, Scope
from gatewright_controller.model import Api
from gatewright_controller.resource.node_labels import has_labels, labels_text


class NotPermittedError(Exception):
    """The caller may not do this; the message says what they may."""


@dataclass(frozen=True)
class Grant:
    """A role. scope: the APIs that it is for; it then gives no right that concerns others (`BOUND`)."""

    role: Role
    scope: Scope = EVERY_API

    @property
    def rights(self) -> frozenset[Right]:
        """All that it gives."""
        rights = RIGHTS[self.role]
        return rights if self.scope.is_every_api else rights & BOUND

    def mistakes(self, field: str) -> Iterator[Mistake]:
        """What is wrong with it, found at this field of a document, which has the role."""
        if self.role == "admin" and not self.scope.is_every_api:
            cure = "leave names, labels, hosts and contexts out, or make it a publisher"
            yield Mistake.expecting("an admin for all APIs", "one that is bound", cure, field=field)
        if self.role == "node" and (self.scope.hosts or self.scope.contexts):
            cure = "leave hosts and contexts out; names and labels are those of the nodes"
            yield Mistake.expecting("a node without bounds of APIs", "one with them", cure, field=field)


class Permit(msgspec.Struct, frozen=True):
    """What one request may touch. apis: those in one of these scopes; None: all of them. gateway: whether the Gateway
    may be written. unwritable: kinds that may not."""

    actor: str = ""
    apis: Sequence[Scope] | None = None
    gateway: bool = True
    unwritable: frozenset[str] = frozenset()

    def covers(self, api: Api) -> bool:
        """Whether the API may be touched."""
        return self.apis is None or any(scope.covers(api) for scope in self.apis)

    def refuse_others(self, api: Api) -> None:
        """Raises `NotPermittedError` where the API may not be touched."""
        if not self.covers(api):
            scopes = " or ".join(f"APIs with {scope}" for scope in self.apis or ())
            raise NotPermittedError(
                f"expected one of the {scopes}, which {self.actor} is for, got {api.metadata.name}, which is none"
            )

    def refuse_other_resources(self, kind: str, document: JsonObject) -> None:
        """Raises `NotPermittedError` where the resource of another kind, which has a name and labels, may not be
        touched."""
        if not self.covers_resource(document):
            name, scopes = (
                document["metadata"]["name"],
                [text for scope in self.apis or () if (text := scope.of_resources)],
            )
            expected = f"one of the {kind}s with {' or '.join(scopes)}" if scopes else f"no {kind}"
            raise NotPermittedError(f"expected {expected}, which {self.actor} is for, got {name}, which is none")

    def covers_resource(self, document: JsonObject) -> bool:
        """Whether the resource of another kind may be touched."""
        metadata = document["metadata"]
        return self.apis is None or any(
            scope.covers_resource(metadata["name"], metadata.get("labels", {})) for scope in self.apis
        )

    def refuse_write(self, kind: str) -> None:
        """Raises `NotPermittedError` where no resource of this kind may be written."""
        if kind in self.unwritable:
            raise NotPermittedError(f"{self.actor} has not the right {WRITING[kind]}, which {kind} needs")

    def refuse_gateway(self) -> None:
        """Raises `NotPermittedError` where the Gateway may not be written."""
        if not self.gateway:
            raise NotPermittedError(f"{self.actor} has not the right gateway:write, which what nodes listen on needs")


EVERYTHING = Permit()
"""For what no caller has asked for, as at a start."""


class Caller(msgspec.Struct, frozen=True):
    """Who sends a request. actor: as the history of resources names them (`store.Author`). lack: why there is no grant,
    of a caller who is known all the same."""

    actor: str
    grants: Sequence[Grant] = ()
    lack: str = ""

    @property
    def rights(self) -> frozenset[Right]:
        """Of all grants."""
        return frozenset[Right]().union(*(grant.rights for grant in self.grants))

    def node_refusal(self, node: str, labels: Mapping[str, str]) -> str:
        """Why the caller may not connect as a node with these labels; "" where it may."""
        scopes = [grant.scope for grant in self.grants if "nodes:connect" in grant.rights]
        named = [scope for scope in scopes if scope.has_name(node)]
        if not named:
            return f"expected a token with the role node, for {node}; got one with another role, or for other nodes"
        if any(has_labels(labels, scope.labels) for scope in named):
            return ""
        wanted = " or ".join(labels_text(scope.labels) for scope in named)
        options = " ".join(f"--node-label {key}={value}" for key, value in sorted(named[0].labels.items()))
        return (
            f"expected the labels {wanted} of the node {node}, as its token has them, got {labels_text(labels)}: "
            f"start the node with {options}, or give it another token"
        )

    def state_refusal(self, labels: Mapping[str, str] | None) -> str:
        """Why the caller may not have the state of nodes with these labels, None: with any; "" where it may."""
        scopes = [grant.scope for grant in self.grants if "nodes:connect" in grant.rights]
        if any(has_labels(labels or {}, scope.labels) for scope in scopes):
            return ""
        wanted = " or ".join(labels_text(scope.labels) for scope in scopes)
        got = "nodes of all labels" if labels is None else labels_text(labels)
        return (
            f"expected nodes with the labels {wanted}, which the token is for, got {got}: name them by "
            "--label KEY=VALUE of `gatewright state export` (?label=KEY=VALUE), or use a token without labels"
        )

    def permit(self, right: Right) -> Permit | None:
        """What a request may touch that needs this right; None: the caller has not got it."""
        scopes = [grant.scope for grant in self.grants if right in grant.rights]
        if not scopes:
            return None
        is_bound = not any(scope.is_every_api for scope in scopes)
        unwritable = frozenset(kind for kind, needed in WRITING.items() if needed not in self.rights)
        return Permit(self.actor, scopes if is_bound else None, "gateway:write" in self.rights, unwritable)


STRANGER = Caller("stranger")
"""Comes without a token that is known."""
LOCAL = Caller("local", (Grant("admin"),))
"""Any client on this machine, where no token is configured."""
