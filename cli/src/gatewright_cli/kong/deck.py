"""The entities of a decK file, nested or at the top, with their references resolved and `_info.defaults` filled in."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from gatewright_documents.values import JsonObject

from gatewright_cli.kong.report import Report
from gatewright_cli.kong.source import Fields, Source

MOST_RETRIES = 32_767
HARMLESS = "it has no effect on requests"
TAGS_CURE = "keep the files of a team in a folder of their own"


@dataclass(frozen=True, eq=False)
class Service:
    """A service. order: its position among all."""

    fields: Fields
    order: int

    @cached_property
    def name(self) -> str:
        """The name, or the id."""
        return self.fields.text("name") or self.fields.text("id") or f"service-{self.order + 1}"

    @cached_property
    def enabled(self) -> bool:
        """false takes its routes away."""
        return self.fields.flag("enabled", True)


@dataclass(frozen=True, eq=False)
class Route:
    """A route. service: None for one that ends at a plugin."""

    fields: Fields
    service: Service | None
    order: int

    @cached_property
    def name(self) -> str:
        """The name, or the id."""
        return self.fields.text("name") or self.fields.text("id") or f"route-{self.order + 1}"

    @cached_property
    def age(self) -> float:
        """The time of its creation: of two routes that are equal otherwise, the older one has a request."""
        return self.fields.number("created_at", math.inf)


@dataclass(frozen=True, eq=False)
class Consumer:
    """A consumer. groups: names of its consumer groups. acls: its groups for the plugin acl."""

    fields: Fields
    name: str
    groups: tuple[str, ...]
    acls: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Plugin:
    """An enabled instance of a plugin. service, route, consumer, group: what it is limited to."""

    fields: Fields
    name: str
    config: Fields
    service: Service | None = None
    route: Route | None = None
    consumer: Consumer | None = None
    group: str = ""


@dataclass
class Deck:
    """A decK file's entities."""

    source: Source
    report: Report
    services: list[Service] = field(default_factory=list)
    routes: list[Route] = field(default_factory=list)
    consumers: list[Consumer] = field(default_factory=list)
    plugins: list[Plugin] = field(default_factory=list)
    upstreams: dict[str, Fields] = field(default_factory=dict)
    targets: dict[str, list[Fields]] = field(default_factory=dict)

    @cached_property
    def top(self) -> Fields:
        """The file itself."""
        return Fields(self.source, (), self.source.value, self.report.seen)

    def find(self, entities: Iterable[Service | Route | Consumer], name: str) -> Service | Route | Consumer | None:
        """The entity of a name or an id."""
        for entity in entities:
            known = (entity.name, *(entity.fields.value.get(key) for key in ("id", "username", "custom_id")))
            if name and name in known:
                return entity
        return None


def read_deck(source: Source, report: Report) -> Deck:
    """The entities. Raises `Invalid` for values of wrong types, and for references to entities that are not there."""
    deck = Deck(source, report)
    _read_services(deck)
    _read_upstreams(deck)
    _read_consumers(deck)
    _read_plugins(deck)
    _leave_out_the_rest(deck)
    source.check()
    return deck


def _read_services(deck: Deck) -> None:
    defaults = deck.top.at("_info").at("defaults")
    nested: list[tuple[Fields, Service | None]] = []
    for order, fields in enumerate(_entities(deck, deck.top, "services", defaults.at("service"))):
        service = Service(fields, order)
        deck.services.append(service)
        nested += [(route, service) for route in _entities(deck, fields, "routes", defaults.at("route"))]
    nested += [
        (route, _named_service(deck, route)) for route in _entities(deck, deck.top, "routes", defaults.at("route"))
    ]
    deck.routes += [Route(fields, service, order) for order, (fields, service) in enumerate(nested)]


def _named_service(deck: Deck, route: Fields) -> Service | None:
    name = route.reference("service")
    found = deck.find(deck.services, name)
    if name and found is None:
        _unknown(deck, route, "service", name)
    return found if isinstance(found, Service) else None


def _unknown(deck: Deck, fields: Fields, key: str, name: str) -> None:
    cure = f"add it, or import the whole configuration: `deck gateway dump` without --select-tag has the {key} too"
    deck.source.wrong(fields.where(key), f"a {key} of this file", repr(name), cure)


def _read_upstreams(deck: Deck) -> None:
    defaults = deck.top.at("_info").at("defaults")
    for fields in _entities(deck, deck.top, "upstreams", defaults.at("upstream")):
        name = fields.text("name")
        deck.upstreams[name] = fields
        deck.targets[name] = _entities(deck, fields, "targets", defaults.at("target"))
    for target in _entities(deck, deck.top, "targets", defaults.at("target")):
        name = target.reference("upstream")
        if name in deck.upstreams:
            deck.targets[name].append(target)
        else:
            _unknown(deck, target, "upstream", name)


def _read_consumers(deck: Deck) -> None:
    members: dict[str, list[str]] = {}
    for group in _entities(deck, deck.top, "consumer_groups", None):
        for consumer in _entities(deck, group, "consumers", None):
            members.setdefault(consumer.text("username"), []).append(group.text("name"))
            consumer.see("id", "custom_id")
    for fields in _entities(deck, deck.top, "consumers", None):
        name = fields.text("username") or fields.text("custom_id")
        named = [group.text("name") for group in _entities(deck, fields, "groups", None)]
        groups = tuple(dict.fromkeys([*named, *members.get(name, [])]))
        acls = tuple(acl.text("group") for acl in _entities(deck, fields, "acls", None))
        if fields.has("custom_id") and fields.has("username"):
            cure = "the upstream gets the username in x-consumer-username; map it there"
            deck.report.left_out(fields.where("custom_id"), "a consumer has one name", cure)
        deck.consumers.append(Consumer(fields, name, groups, acls))


def _read_plugins(deck: Deck) -> None:
    places: list[tuple[Fields, dict[str, Any]]] = [(deck.top, {})]
    places += [(service.fields, {"service": service}) for service in deck.services]
    places += [(route.fields, {"route": route}) for route in deck.routes]
    places += [(consumer.fields, {"consumer": consumer}) for consumer in deck.consumers]
    places += [(group, {"group": group.text("name")}) for group in deck.top.items("consumer_groups")]
    for place, scope in places:
        for fields in _entities(deck, place, "plugins", None):
            _add_plugin(deck, fields, dict(scope))


def _add_plugin(deck: Deck, fields: Fields, found: dict[str, Any]) -> None:
    """found: what the plugin is limited to by its place in the file."""
    name = fields.text("name")
    for key, entities in (("service", deck.services), ("route", deck.routes), ("consumer", deck.consumers)):
        if reference := fields.reference(key):
            found[key] = deck.find(entities, reference)
            if found[key] is None:
                _unknown(deck, fields, key, reference)
    if group := fields.reference("consumer_group"):
        found["group"] = group
    if not fields.flag("enabled", True):
        deck.report.left_out(fields.path, "it is disabled in Kong, and nothing is attached for it")
        return
    deck.plugins.append(Plugin(fields, name, _config(deck, fields), **found))


def _config(deck: Deck, fields: Fields) -> Fields:
    """The plugin's own configuration over the shared one that `_config` names."""
    own = fields.at("config")
    name = fields.text("_config")
    if not name:
        return own
    shared = deck.top.at("_plugin_configs")
    if not shared.has(name):
        _unknown(deck, fields, "_config", name)
    base = shared.at(name)
    deck.report.seen.add(base.path)
    merged = {**base.value, **own.value}
    return Fields(deck.source, own.path if fields.has("config") else base.path, merged, deck.report.seen)


def _entities(deck: Deck, fields: Fields, key: str, defaults: Fields | None) -> list[Fields]:
    """The objects in a list, each with the defaults of its kind, and with what all kinds have reported."""
    items = [_with_defaults(item, defaults) for item in fields.items(key)]
    for item in items:
        item.see("id", "created_at", "updated_at", "name", "username")
        if item.has("tags"):
            deck.report.left_out(item.where("tags"), f"APIs have no tags; {HARMLESS}", TAGS_CURE)
    return items


def _with_defaults(item: Fields, defaults: Fields | None) -> Fields:
    if defaults is None or not defaults.value:
        return item
    defaults.see(*defaults.value)
    return Fields(item.source, item.path, {**defaults.value, **item.value}, defaults._seen)


def _leave_out_the_rest(deck: Deck) -> None:
    for key, reason, cure in _top_level(deck.top.value):
        deck.report.left_out((key,), reason, cure)
    deck.top.see("_format_version", "_transform")
    if deck.top.value.get("_transform") is False:
        cure = "credentials are hashes of Kong, which no policy verifies: give these consumers new ones"
        deck.report.left_out(("_transform",), "passwords are hashed already", cure)
    info = deck.top.at("_info")
    if info.has("select_tags"):
        deck.report.left_out(info.where("select_tags"), f"APIs have no tags; {HARMLESS}", TAGS_CURE)


def _top_level(document: JsonObject) -> Iterator[tuple[str, str, str]]:
    for key, (reason, cure) in NOT_IMPORTED.items():
        if document.get(key):
            yield key, reason, cure


FILES = "files of the operator, to which the Gateway gives names"
NEW_POLICY = "write it as a policy: `gatewright new policy`"
KEY_SETS = ("there are no key sets", "name the keys in jwks, or their place in jwksUri, of jwt-auth")
NOT_IMPORTED = {
    "certificates": (
        f"certificates are {FILES}",
        "write certificate and key to files, and name them in spec.certificates of the Gateway",
    ),
    "snis": (
        f"certificates are {FILES}",
        "name the certificate in spec.certificates of the Gateway: a listener chooses among its own by their names",
    ),
    "ca_certificates": (
        f"authorities are {FILES}",
        "write the certificate to a file, and name it in spec.authorities of the Gateway",
    ),
    "vaults": (
        "secrets are files of the operator",
        "write each secret to a file of the folder secrets, by the name that the API has in secretRef",
    ),
    "keys": KEY_SETS,
    "key_sets": KEY_SETS,
    "_workspace": ("there are no workspaces", "give each workspace's APIs contexts or hosts of their own"),
    "_konnect": ("it names a place in Konnect", "apply the APIs to your controller"),
    "licenses": ("nothing asks for a licence", ""),
    "filter_chains": ("filters in WebAssembly have no counterpart", NEW_POLICY),
    "partials": ("parts of configurations are not resolved", "write them into the plugins: `deck file render`"),
    "custom_entities": ("entities of custom plugins have no counterpart", NEW_POLICY),
    "rbac_roles": ("roles of Kong Enterprise have no counterpart in APIs", "see who may use the management API"),
    "service_packages": ("service packages of Konnect have no counterpart", ""),
}
