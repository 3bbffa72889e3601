"""Consumers as `Consumer` resources, with labels for their groups, and their keys, which are data beside them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal

from gatewright_documents.values import JsonObject

from gatewright_cli.kong.deck import Consumer, Deck
from gatewright_cli.kong.expressions import cel_text
from gatewright_cli.kong.names import slug, unique
from gatewright_cli.kong.source import Fields

KEY = re.compile(r"[!-~]{22,4096}")
"""A key that the controller keeps: long enough that its SHA-256 says nothing about it."""
MOST_KEYS, MOST_LABELS = 32, 64
"""Of a consumer."""
LONGEST_GROUP = 50
MEMBER = "member"
REFERENCE = re.compile(r"\{vault://.*\}")
GroupKind = Literal["acl", "group"]
"""A group of the plugin acl, or a consumer group. Labels are `acl/NAME` and `group/NAME`."""


@dataclass
class Consumers:
    """names: of resources, by the consumers' own. labels: of groups, by kind and name. members: labels of consumers, by
    names of resources, and claims: those of their tokens. keys: by their texts, for `gatewright consumer key import`.
    """

    names: dict[str, str] = field(default_factory=dict)
    labels: dict[tuple[GroupKind, str], str] = field(default_factory=dict)
    members: dict[str, dict[str, str]] = field(default_factory=dict)
    claims: dict[str, list[JsonObject]] = field(default_factory=dict)
    keys: dict[str, JsonObject] = field(default_factory=dict)
    key_counts: Counter[str] = field(default_factory=Counter)

    def label(self, kind: GroupKind, group: str) -> str:
        """The label of a group, another one for each group."""
        if (kind, group) not in self.labels:
            name = f"{kind}/{slug(group)[:LONGEST_GROUP].strip('-') or 'unnamed'}"
            self.labels[kind, group] = unique(name, self.labels.values())
        return self.labels[kind, group]

    def labels_of(self, consumer: Consumer) -> list[str]:
        """The labels of all groups that the consumer is in."""
        found = [self.label("acl", name) for name in consumer.acls]
        return list(dict.fromkeys([*found, *(self.label("group", name) for name in consumer.groups)]))

    def is_consumer(self, name: str) -> str:
        """The condition, behind one that there is an identity, that it is this consumer's."""
        return f"has(metadata.identity.consumer) && metadata.identity.consumer == {cel_text(self.names.get(name, ''))}"

    def in_groups(self, kind: GroupKind, groups: Iterable[str]) -> str:
        """The condition, behind one that there is an identity, that its consumer is in one of these groups."""
        labels = [f"{cel_text(self.label(kind, group))} in metadata.identity.labels" for group in groups]
        return f"has(metadata.identity.labels) && ({' || '.join(labels)})"

    def documents(self, plan_of: dict[str, str]) -> Iterator[JsonObject]:
        """The resources. plan_of: names of Plans by the consumers' own names."""
        for consumer, name in self.names.items():
            labels, claims = self.members[name], self.claims.get(name, [])
            plan = {"plan": plan_of[consumer]} if consumer in plan_of else {}
            spec: JsonObject = {**plan, **({"jwt": claims} if claims else {})}
            metadata: JsonObject = {"name": name, **({"labels": labels} if labels else {})}
            document: JsonObject = {"apiVersion": "gatewright.dev/v1", "kind": "Consumer", "metadata": metadata}
            yield {**document, "spec": spec} if spec else document

    def add_key(self, deck: Deck, item: Fields, consumer: str, name: str, text: str) -> None:
        """Adds a key under the consumer's own name, or reports why it is left out. The report has no text of a key."""
        consumer, expires = self.names[consumer], _expiry(deck, item)
        if expires is None:
            return
        cure = f"`gatewright consumer key create {consumer} {name}` makes another one"
        if not KEY.fullmatch(text):
            reason = (
                "it has less than 22 characters, so that its SHA-256 would give it away, or some that no header has"
            )
            deck.report.left_out(item.path, reason, cure)
        elif text in self.keys:
            deck.report.left_out(item.path, "another credential of the file is the same", cure)
        elif self.key_counts[consumer] == MOST_KEYS:
            deck.report.left_out(item.path, f"a consumer has {MOST_KEYS} keys at most", "make a second consumer")
        else:
            end = {"expiresAt": expires} if expires else {}
            self.keys[text] = {"consumer": consumer, "name": name, "key": text, **end}
            self.key_counts[consumer] += 1


def read_consumers(deck: Deck) -> Consumers:
    """The consumers of a file with their groups. Reports those that are left out."""
    found, taken = Consumers(), set[str]()
    for consumer in deck.consumers:
        labels = found.labels_of(consumer)
        if not consumer.name or len(labels) > MOST_LABELS:
            reason = f"it has no name, or is in more than {MOST_LABELS} groups, and has as many labels at most"
            deck.report.left_out(consumer.fields.path, reason, "leave out groups that no plugin asks for")
            continue
        name = slug(consumer.name) or "consumer"
        name = unique(name, taken) if name in taken else name
        if name != consumer.name:
            reason = "a Consumer's name has lower-case letters, digits and hyphens, and so has x-consumer-username"
            where = "username" if consumer.fields.has("username") else "custom_id"
            deck.report.changed(consumer.fields.where(where), reason, "tell the upstreams")
        taken.add(name)
        found.names[consumer.name] = name
        found.members[name] = dict.fromkeys(labels, MEMBER)
    return found


def is_reference(deck: Deck, item: Fields, key: str, place: str) -> bool:
    """Whether the value is in a vault of Kong's, which is reported."""
    if not REFERENCE.fullmatch(item.text(key)):
        return False
    deck.report.left_out(item.path, "its value is in a vault of Kong", f"write it as {place}")
    return True


def _expiry(deck: Deck, item: Fields) -> str | None:
    """When a key expires; "" for never, None for a time that is not known, or is past, with which it is left out."""
    ttl = item.whole("ttl")
    if not ttl:
        return ""
    if not item.has("created_at"):
        reason = "it has a time to live, and no created_at from which it runs"
        deck.report.left_out(item.path, reason, "add created_at, or remove ttl, and import again")
        return None
    try:
        end = datetime.fromtimestamp(item.whole("created_at"), UTC) + timedelta(seconds=ttl)
    except (OverflowError, ValueError, OSError):
        deck.report.left_out(item.path, "its time to live cannot be read", "correct created_at and ttl")
        return None
    if end <= datetime.now(UTC):
        deck.report.left_out(item.path, "it has expired", "")
        return None
    return end.strftime("%Y-%m-%dT%H:%M:%SZ")
