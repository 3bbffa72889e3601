"""Consumers and plans on their way to nodes: a node is sent the shards in which it differs, then each change.

A shard is a part of the consumers by their names, and its version the XOR of those of its consumers, so that a node
that was away, at whichever controller it comes back, says in a few KB what it has.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping

import msgspec

from gatewright_controller._gen import node_pb2

SHARDS, VERSION_BYTES = 1024, 8
CHANGE_BYTES = 1024 * 1024
"""About how much one message holds."""


class Lacking(msgspec.Struct):
    """What a node is still to be sent. shards: whole. names: of consumers that have changed or gone. plans: the version
    of those that it was sent."""

    shards: list[int] = msgspec.field(default_factory=list)
    names: dict[str, None] = msgspec.field(default_factory=dict)
    plans: bytes = b""


class ConsumersCopy(msgspec.Struct, frozen=True):
    """Consumers by name, and plans, as nodes are sent them at one moment; for any thread."""

    encoded: Mapping[str, bytes]
    plans: bytes

    def change(self) -> node_pb2.ConsumerChange | None:
        """What a node that has none lacks, whatever the size; None for nothing. 100,000 take 0.2 s."""
        if not self.encoded and not self.plans:
            return None
        change, shards = node_pb2.ConsumerChange(plans=self.plans or None), dict[int, list[bytes]]()
        for name, encoded in sorted(self.encoded.items()):
            shards.setdefault(shard_of(name), []).append(encoded)
        for number, consumers in sorted(shards.items()):
            change.shards.add(number=number, consumers=consumers)
        return change


class ConsumerIndex:
    """All consumers as nodes are sent them, and what refers to what. In memory only."""

    def __init__(self) -> None:
        self._encoded: dict[str, bytes] = {}
        self._shards: list[set[str]] = [set() for _ in range(SHARDS)]
        self._versions = [0] * SHARDS
        self._plans: dict[str, node_pb2.Plan] = {}
        self._encoded_plans = b""
        self._consumers_of: dict[str, set[str]] = {}
        self._holders: dict[tuple[str, ...], str] = {}

    def __len__(self) -> int:
        return len(self._encoded)

    @property
    def names(self) -> Collection[str]:
        """Of all consumers."""
        return self._encoded.keys()

    @property
    def plan_names(self) -> Collection[str]:
        """Of all plans."""
        return self._plans.keys()

    def put(self, consumer: node_pb2.Consumer) -> None:
        """In the place of the one of this name."""
        self.drop(consumer.name)
        encoded, number = consumer.SerializeToString(deterministic=True), shard_of(consumer.name)
        self._encoded[consumer.name] = encoded
        self._shards[number].add(consumer.name)
        self._versions[number] ^= version_of(encoded)
        if consumer.plan:
            self._consumers_of.setdefault(consumer.plan, set()).add(consumer.name)
        for credential in credentials_of(consumer):
            self._holders[credential] = consumer.name

    def drop(self, name: str) -> None:
        """The consumer is gone."""
        if (consumer := self.get(name)) is None:
            return
        encoded, number = self._encoded.pop(name), shard_of(name)
        self._shards[number].discard(name)
        self._versions[number] ^= version_of(encoded)
        if consumer.plan:
            users = self._consumers_of[consumer.plan]
            users.discard(name)
            if not users:
                del self._consumers_of[consumer.plan]
        for credential in credentials_of(consumer):
            if self._holders.get(credential) == name:
                del self._holders[credential]

    def get(self, name: str) -> node_pb2.Consumer | None:
        """As nodes are sent it."""
        encoded = self._encoded.get(name)
        return node_pb2.Consumer.FromString(encoded) if encoded is not None else None

    def put_plan(self, plan: node_pb2.Plan) -> None:
        """In the place of the one of this name."""
        self._plans[plan.name] = plan
        self._encode_plans()

    def drop_plan(self, name: str) -> None:
        """The plan is gone."""
        if self._plans.pop(name, None):
            self._encode_plans()

    def _encode_plans(self) -> None:
        plans = node_pb2.Plans(plans=[self._plans[name] for name in sorted(self._plans)])
        self._encoded_plans = plans.SerializeToString(deterministic=True)

    def has_plan(self, name: str) -> bool:
        """Whether there is a plan of this name."""
        return name in self._plans

    def consumers_of(self, plan: str) -> list[str]:
        """Names of the consumers that have this plan."""
        return sorted(self._consumers_of.get(plan, ()))

    def count_of(self, plan: str) -> int:
        """How many consumers have this plan."""
        return len(self._consumers_of.get(plan, ()))

    def holder_of(self, credential: tuple[str, ...]) -> str | None:
        """The name of the consumer that has it."""
        return self._holders.get(credential)

    def lacking(self, versions: node_pb2.ConsumerVersions) -> Lacking:
        """What a node lacks that has these."""
        theirs = versions.shards
        shards = [
            number
            for number, version in enumerate(self._versions)
            if theirs[number * VERSION_BYTES : (number + 1) * VERSION_BYTES] != version.to_bytes(VERSION_BYTES)
        ]
        return Lacking(shards, plans=versions.plans)

    def next_change(self, lacking: Lacking) -> node_pb2.ConsumerChange | None:
        """What the node is sent next, as far as one message holds it; from then on it counts as sent. None: it has
        all."""
        plans = self._encoded_plans if self._plans_version() != lacking.plans else None
        if not (lacking.shards or lacking.names or plans is not None):
            return None
        lacking.plans = self._plans_version()
        change = node_pb2.ConsumerChange(plans=plans)
        size = 0
        while lacking.shards and size < CHANGE_BYTES:
            number = lacking.shards.pop()
            consumers = [self._encoded[name] for name in sorted(self._shards[number])]
            change.shards.add(number=number, consumers=consumers)
            size += sum(map(len, consumers))
        while lacking.names and not lacking.shards and size < CHANGE_BYTES:
            name, _ = lacking.names.popitem()
            encoded = self._encoded.get(name)
            size += len(encoded or name)
            if encoded is None:
                change.removed.append(name)
            else:
                change.consumers.append(encoded)
        return change

    def copy(self) -> ConsumersCopy:
        """All that there are now."""
        return ConsumersCopy(dict(self._encoded), self._encoded_plans)

    @property
    def digest(self) -> str:
        """Names what a copy has."""
        versions = b"".join(version.to_bytes(VERSION_BYTES) for version in self._versions)
        return hashlib.sha256(versions + self._plans_version()).hexdigest()

    def _plans_version(self) -> bytes:
        return hashlib.sha256(self._encoded_plans).digest() if self._encoded_plans else b""


def shard_of(name: str) -> int:
    """The first 10 bits of the digest of its name."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:2]) >> 6


def version_of(encoded: bytes) -> int:
    """Names what a consumer is."""
    return int.from_bytes(hashlib.sha256(encoded).digest()[:VERSION_BYTES])


def credentials_of(consumer: node_pb2.Consumer) -> Iterator[tuple[str, ...]]:
    """What one consumer alone may have, keys left out: the store has each of these once."""
    for claims in consumer.claims:
        yield "jwt", claims.issuer, claims.subject
    for certificate in consumer.certificates:
        yield "certificate", certificate.hex()


def name_credential(credential: tuple[str, ...]) -> str:
    """In words."""
    if credential[0] == "jwt" and not credential[2]:
        return f"all JWTs of {credential[1]}"
    if credential[0] == "jwt":
        return f"the JWT subject {credential[2]!r} of {credential[1]}"
    return f"the certificate {credential[1]}"
