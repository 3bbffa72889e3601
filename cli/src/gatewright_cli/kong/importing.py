"""Makes APIs and Consumers of a decK file that the controller accepts, and reports what became of each field."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath

from gatewright_controller.resource.definitions import Definitions
from gatewright_controller.validation import validate
from gatewright_documents.mistake import Invalid, Mistake
from gatewright_documents.values import JsonObject
from gatewright_documents.yaml_writer import yaml_text

from gatewright_cli.kong.attachments import Scene
from gatewright_cli.kong.chains import Chains
from gatewright_cli.kong.credentials import Credentials, read_credentials
from gatewright_cli.kong.deck import Deck, Route, read_deck
from gatewright_cli.kong.names import slug, unique
from gatewright_cli.kong.operations import ApiDraft, Upstreams, draft_api
from gatewright_cli.kong.plans import Plans, read_plans
from gatewright_cli.kong.pools import pool_of, settings_of
from gatewright_cli.kong.report import Entry, Report, Results
from gatewright_cli.kong.router import ApiPlan, plan_apis
from gatewright_cli.kong.source import read
from gatewright_cli.kong.ways import ways_of

POLICY = re.compile(r"spec(?:\.operations\[([0-9]+)\])?\.policies\[([0-9]+)\]")
OPERATION = re.compile(r"spec\.operations\[([0-9]+)\]")
POOL = re.compile(r"spec\.upstream\.([a-z0-9-]+)")
BY_HAND = "write it by hand"


@dataclass(frozen=True)
class Imported:
    """apis: texts in YAML by name. plans, consumers: documents. keys: of consumers, as `gatewright consumer key import`
    reads them. secrets: contents by name. policies: names of those that the APIs attach, in order. entries: what became
    of each field.
    """

    apis: dict[str, str]
    plans: list[JsonObject]
    consumers: list[JsonObject]
    keys: list[JsonObject]
    secrets: dict[str, str]
    policies: tuple[str, ...]
    entries: list[Entry]

    @property
    def results(self) -> Results:
        """What the report names."""
        plans, consumers = ([found["metadata"]["name"] for found in kind] for kind in (self.plans, self.consumers))
        return Results(list(self.apis), plans, consumers, len(self.keys), list(self.secrets))


@dataclass
class _Refused:
    """What the validation refuses, with its reasons."""

    plugins: dict[int, str] = field(default_factory=dict)
    services: dict[int, str] = field(default_factory=dict)
    routes: dict[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.plugins) + len(self.services) + len(self.routes)


def import_kong(
    body: bytes, file: str, definitions: Definitions, environment: Mapping[str, str], without: Sequence[str] = ()
) -> Imported:
    """The APIs of a decK file, whose name in mistakes is `file`.

    definitions: of the policies that are attached. environment: values for placeholders. without: plugins whose routes
    stay open although they have no counterpart. Raises `Invalid` with what to change in the file, by line.
    """
    source = read(body, file, environment)
    report = Report(source)
    deck = read_deck(source, report)
    credentials = read_credentials(deck)
    plans = read_plans(deck, Scene(deck, credentials, is_identified=True))
    source.check()
    refused = _Refused()
    known = {path: dict(findings) for path, findings in report.findings.items()}
    while True:
        report.findings = {path: dict(findings) for path, findings in known.items()}
        chains = Chains(deck, credentials, plans, frozenset(without), refused.plugins)
        drafts = _draft(deck, chains, refused)
        source.check()
        before = len(refused)
        for draft in drafts:
            _validate(draft, definitions, refused)
        if len(refused) == before:
            break
    chains.report_unused()
    return _result(drafts, credentials, plans, report, PurePath(file).name)


def _draft(deck: Deck, chains: Chains, refused: _Refused) -> list[ApiDraft]:
    upstreams = _upstreams(deck, refused)
    ways = [way for way in ways_of(deck) if _is_possible(way.route, upstreams, refused, deck.report)]
    plans = plan_apis(ways, deck.report)
    names: list[str] = []
    for plan in plans:
        names.append(unique(_name(plan, plans), names))
    return [draft_api(plan, name, upstreams, chains, deck.report) for plan, name in zip(plans, names, strict=True)]


def _upstreams(deck: Deck, refused: _Refused) -> Upstreams:
    pools: dict[int, JsonObject] = {}
    settings: dict[int, JsonObject] = {}
    for service in deck.services:
        if id(service) in refused.services:
            deck.report.left_out(service.fields.path, refused.services[id(service)], BY_HAND)
        elif (pool := pool_of(deck, service)) is not None:
            pools[id(service)], settings[id(service)] = pool, settings_of(service, deck.report)
    for upstream, fields in deck.upstreams.items():
        if all(service.fields.value.get("host") != upstream for service in deck.services):
            deck.report.left_out(fields.path, "no service of the file names it", "import it with its services")
    return Upstreams(pools, settings)


def _is_possible(route: Route, upstreams: Upstreams, refused: _Refused, report: Report) -> bool:
    if id(route) in refused.routes:
        report.left_out(route.fields.path, refused.routes[id(route)], BY_HAND)
        return False
    if route.service is not None and id(route.service) not in upstreams.pools:
        report.left_out(route.fields.path, "its service is left out", "see there")
        return False
    return True


def _name(plan: ApiPlan, plans: Sequence[ApiPlan]) -> str:
    """The service's name if it has one API only, with the context otherwise."""
    service = plan.choices[0].way.route.service
    base = slug(service.name if service else plan.choices[0].way.route.name) or "api"
    same = [other for other in plans if other.choices[0].way.route.service is service]
    if len(same) == 1:
        return base
    host = plan.hosts[0].removeprefix("*.") if plan.hosts else ""
    in_context = [other for other in same if other.context == plan.context]
    return slug("-".join([base, *plan.context, *([host] if len(in_context) > 1 else [])]))


def _validate(draft: ApiDraft, definitions: Definitions, refused: _Refused) -> None:
    try:
        validate(draft.document, definitions, {})
    except Invalid as invalid:
        for mistake in invalid.mistakes:
            _refuse(draft, mistake, refused)


def _refuse(draft: ApiDraft, mistake: Mistake, refused: _Refused) -> None:
    """Remembers the part of the file that a mistake comes from."""
    reason = f"the API would be refused: {mistake.message}"
    if found := POLICY.match(mistake.field):
        items = draft.operation_level[int(found[1])] if found[1] else draft.api_level
        plugin = items[int(found[2])].plugin
        if plugin is not None and id(plugin) not in refused.plugins:
            refused.plugins[id(plugin)] = reason
            return
    pool = POOL.match(mistake.field)
    if pool and pool[1] in draft.services:
        refused.services[id(draft.services[pool[1]])] = reason
        return
    operation = OPERATION.match(mistake.field)
    routes = [draft.routes[int(operation[1])]] if operation else draft.routes
    for route in routes:
        refused.routes.setdefault(id(route), reason)


def _result(drafts: Sequence[ApiDraft], credentials: Credentials, plans: Plans, report: Report, file: str) -> Imported:
    apis = {}
    for draft in drafts:
        routes = ", ".join(dict.fromkeys(" ".join(route.name.split()) for route in draft.routes))
        text = "".join(
            character if character.isprintable() else " " for character in f"Imported from {file}: routes {routes}"
        )
        apis[draft.document["metadata"]["name"]] = f"# {text[:150]}\n{yaml_text(draft.document)}"
    documents = [draft.document for draft in drafts]
    policies = sorted({name for document in documents for name in _policies(document)})
    used = set(_secret_names(documents))
    secrets = {name: text for name, text in credentials.secrets.items() if name in used}
    consumers, keys = credentials.consumers.documents(plans.of_consumer), credentials.consumers.keys.values()
    return Imported(apis, plans.documents, list(consumers), list(keys), secrets, tuple(policies), report.entries())


def _policies(document: JsonObject) -> Iterator[str]:
    for level in (document["spec"], *document["spec"]["operations"]):
        yield from (attachment["name"] for attachment in level.get("policies", ()))


def _secret_names(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("secretRef"), str):
            yield value["secretRef"]
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _secret_names(item)
