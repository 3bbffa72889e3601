"""Consumers and plans: data for policies, which nodes get without a message to Envoy and without another chain."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar

import msgspec
from gatewright_documents.mistake import Mistake
from gatewright_documents.values import JsonObject

from gatewright_controller._gen import node_pb2
from gatewright_controller.access import Right
from gatewright_controller.kinds.kind import Kind, KindStatus, ResourceUser
from gatewright_controller.model import Consumer, ConsumerPlan
from gatewright_controller.nodes.consumer_index import credentials_of, name_credential
from gatewright_controller.nodes.deployment import Deployment
from gatewright_controller.store import CONSUMER, PLAN, ConsumerKey, Store, StoredResource, name_in

UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
LONGEST_SECONDS, MOST_PER_SECOND = 31 * 86400, 1_000_000
"""Of a limit, as the policy rate-limit has them."""
MOST_NAMED = 5
"""Consumers that a message names."""


class ConsumerStatus(KindStatus, frozen=True, kw_only=True):
    """What has become of a consumer."""

    keys: int
    """How many keys it has, expired ones too."""


class PlanStatus(KindStatus, frozen=True, kw_only=True):
    """What has become of a plan."""

    consumers: int
    """How many have it."""


class ConsumerKind(Kind):
    """deployment: of the nodes that get the consumers. store: has their keys."""

    name = CONSUMER
    plural = "consumers"
    model = Consumer
    read: ClassVar[Right] = "consumers:read"
    write: ClassVar[Right] = "consumers:write"
    status_shape = ConsumerStatus

    def __init__(self, deployment: Deployment, store: Store) -> None:
        self._deployment, self._index, self._store = deployment, deployment.consumers, store

    def status(self, stored: StoredResource) -> Mapping[str, Any]:
        consumer = self._index.get(stored.name)
        return {"keys": len(consumer.keys) if consumer else 0}

    def effects(self, name: str, before: JsonObject | None, after: JsonObject | None) -> Iterator[str]:
        """No chain is built again."""
        if after is None:
            yield f"{name} and its keys are refused from then on; a consumer of the same name later has none of them"
        elif before is None:
            yield f"{name} has no key yet: `gatewright consumer key create {name}` makes one"
        else:
            yield f"policies see the change with the next request of {name}"

    def refused(self, changes: Mapping[str, Mapping[str, JsonObject | None]]) -> Iterator[Mistake]:
        """A plan that is not there, and what two consumers have."""
        written = changes.get(CONSUMER, {})
        holders: dict[tuple[str, ...], str] = {}
        for name, document in written.items():
            if document is None:
                continue
            yield from self._without_plan(name, document["spec"].get("plan", ""), changes.get(PLAN, {}))
            for credential in credentials_of(encoded(document, ())):
                stored = self._index.holder_of(credential)
                holder = holders.setdefault(credential, name if stored is None or stored in written else stored)
                if holder != name:
                    expected = f"{name} to have alone what it is known by"
                    got = f"{name_credential(credential)}, which {holder} has too"
                    yield Mistake.expecting(expected, got, "leave it to one of the two", field="spec")

    def _without_plan(self, name: str, plan: str, plans: Mapping[str, JsonObject | None]) -> Iterator[Mistake]:
        if plan and not (plans[plan] is not None if plan in plans else self._index.has_plan(plan)):
            expected, cure = f"a Plan that there is, for {name}", "create it first, or apply both together"
            yield Mistake.expecting(expected, f"{plan!r}", cure, field="spec.plan")

    @property
    def adopted(self) -> Collection[str]:
        return self._index.names

    def load_all(self, stored: Iterable[StoredResource], revision: int) -> None:
        for consumer in self._encoded(stored):
            self._index.put(consumer)
        self._deployment.advance(revision)

    def reread_all(self, stored: Sequence[StoredResource]) -> Sequence[Callable[[], None]]:
        wanted = {consumer.name: consumer for consumer in self._encoded(stored)}

        def adopt() -> None:
            for name in set(self._index.names) - wanted.keys():
                self._deployment.remove_consumer(name, 0)
            for name, consumer in wanted.items():
                if self._index.get(name) != consumer:
                    self._deployment.set_consumer(consumer, 0)

        return [adopt]

    def _encoded(self, stored: Iterable[StoredResource]) -> Iterator[node_pb2.Consumer]:
        keys: dict[str, list[ConsumerKey]] = {}
        for key in self._store.consumer_keys():
            keys.setdefault(key.consumer, []).append(key)
        for consumer in stored:
            yield encoded(consumer.document, keys.get(consumer.name, ()))

    def reread(self, name: str) -> Callable[[StoredResource, int], None]:
        keys = self._store.consumer_keys(name)

        def adopt(stored: StoredResource, revision: int) -> None:
            self._deployment.set_consumer(encoded(stored.document, keys), revision)

        return adopt

    def adopt(self, stored: StoredResource, revision: int) -> None:
        consumer = encoded(stored.document, ())
        if known := self._index.get(stored.name):
            consumer.keys.extend(known.keys)
        self._deployment.set_consumer(consumer, revision)

    def adopt_keys(self, name: str, keys: Sequence[ConsumerKey], revision: int) -> None:
        """The keys that the consumer has from now on."""
        if consumer := self._index.get(name):
            del consumer.keys[:]
            consumer.keys.extend(map(_encoded_key, _in_order(keys)))
            self._deployment.set_consumer(consumer, revision)

    def forget(self, name: str, revision: int) -> None:
        self._deployment.remove_consumer(name, revision)


class PlanKind(Kind):
    """deployment: of the nodes that get the plans."""

    name = PLAN
    plural = "plans"
    model = ConsumerPlan
    read: ClassVar[Right] = "consumers:read"
    write: ClassVar[Right] = "consumers:write"
    status_shape = PlanStatus

    def __init__(self, deployment: Deployment) -> None:
        self._deployment, self._index = deployment, deployment.consumers

    @classmethod
    def mistakes(cls, document: JsonObject) -> Iterator[Mistake]:
        found = list(super().mistakes(document))
        yield from found
        if not found:
            yield from _beyond(document)
            yield from _twice(document, "limits", "name")
            yield from _twice(document, "quotas", "period")

    def status(self, stored: StoredResource) -> Mapping[str, Any]:
        return {"consumers": self._index.count_of(stored.name)}

    def effects(self, name: str, before: JsonObject | None, after: JsonObject | None) -> Iterator[str]:
        """No chain is built again."""
        del after
        count = self._index.count_of(name)
        if before is not None and count:
            yield f"{'1 consumer has' if count == 1 else f'{count} consumers have'} other limits from the next request"
        else:
            yield "no consumer has it yet"

    def refused(self, changes: Mapping[str, Mapping[str, JsonObject | None]]) -> Iterator[Mistake]:
        """The deletion of what consumers have."""
        written = changes.get(CONSUMER, {})
        for plan, document in changes.get(PLAN, {}).items():
            if document is not None:
                continue
            users = [name for name in self._index.consumers_of(plan) if name not in written]
            users += [name for name, consumer in written.items() if consumer and consumer["spec"].get("plan") == plan]
            if users:
                more = len(users) - MOST_NAMED
                named = ", ".join([*users[:MOST_NAMED], f"{more} more"] if more > 0 else users)
                cure = "give them another plan first"
                yield Mistake.expecting(f"no consumer with the plan {plan}, which goes", named, cure, field="metadata")

    def used_by(self, stored: StoredResource) -> Iterable[ResourceUser]:
        """The consumers that have it."""
        return [ResourceUser(CONSUMER, name) for name in self._index.consumers_of(stored.name)]

    @property
    def adopted(self) -> Collection[str]:
        return self._deployment.consumers.plan_names

    def adopt(self, stored: StoredResource, revision: int) -> None:
        spec = stored.document["spec"]
        limits, quotas = (msgspec.json.encode(spec[part]) if spec.get(part) else b"" for part in ("limits", "quotas"))
        self._deployment.set_plan(node_pb2.Plan(name=stored.name, limits=limits, quotas=quotas), revision)

    def forget(self, name: str, revision: int) -> None:
        self._deployment.remove_plan(name, revision)


def _beyond(document: JsonObject) -> Iterator[Mistake]:
    """Limits that rate-limit cannot count."""
    for number, limit in enumerate(document["spec"].get("limits", ())):
        seconds = int(limit["per"][:-1]) * UNIT_SECONDS[limit["per"][-1]]
        field = f"spec.limits[{number}]"
        if seconds > LONGEST_SECONDS:
            yield Mistake.expecting("31d at most", limit["per"], "use a quota for longer", field=f"{field}.per")
        if limit["requests"] > MOST_PER_SECOND * seconds:
            got = f"{limit['requests']} in {limit['per']}"
            yield Mistake.expecting(f"{MOST_PER_SECOND} requests per second at most", got, "lower it", field=field)


def _twice(document: JsonObject, part: str, member: str) -> Iterator[Mistake]:
    seen = set[str]()
    for number, item in enumerate(document["spec"].get(part, ())):
        value = item.get(member, str(number + 1) if member == "name" else "")
        if value in seen:
            field = f"spec.{part}[{number}].{member}"
            yield Mistake.expecting(f"each {member} once", f"{value!r} twice", "leave one of the two out", field=field)
        seen.add(value)


def encoded(document: JsonObject, keys: Iterable[ConsumerKey]) -> node_pb2.Consumer:
    """What nodes are sent of a consumer."""
    spec = document["spec"]
    return node_pb2.Consumer(
        name=name_in(document),
        plan=spec.get("plan", ""),
        labels=document["metadata"].get("labels", {}),
        keys=map(_encoded_key, _in_order(keys)),
        claims=[node_pb2.ConsumerClaims(**claims) for claims in spec.get("jwt", ())],
        certificates=[bytes.fromhex(item["sha256"]) for item in spec.get("certificates", ())],
    )


def _in_order(keys: Iterable[ConsumerKey]) -> list[ConsumerKey]:
    """The same at each controller, as versions are made of it."""
    return sorted(keys, key=lambda key: key.digest)


def _encoded_key(key: ConsumerKey) -> node_pb2.ConsumerKey:
    expires = int(datetime.fromisoformat(key.expires_at).timestamp()) if key.expires_at else 0
    return node_pb2.ConsumerKey(digest=bytes.fromhex(key.digest), expires=expires)
