"""Limits of consumers and consumer groups as Plans: a consumer's plan takes the place of a route's own limits.

In Kong the instance of a consumer comes before that of a group, and both before those of routes and of services.

It is all or nothing: if one of the plugin's instances cannot be a plan, all stay attachments with conditions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from gatewright_documents.values import JsonObject

from gatewright_cli.kong.attachments import NoCounterpartError, Scene, attach
from gatewright_cli.kong.counterparts import COUNTERPARTS
from gatewright_cli.kong.deck import Consumer, Deck, Plugin
from gatewright_cli.kong.names import slug, unique
from gatewright_cli.kong.ways import CLEAR, SECURE

PLANNED = ("rate-limiting", "rate-limiting-advanced")
MOST_LIMITS, MOST_REQUESTS, LONGEST_SECONDS = 4, 10_000_000, 31 * 86_400
HAS_PLAN = "metadata.identity != null && has(metadata.identity.plan)"


@dataclass
class Plans:
    """documents: the resources. plugin: the one whose instances they are; "" for none. of_consumer: names of plans by
    Kong's names of consumers. attachments: what applies them.
    """

    documents: list[JsonObject] = field(default_factory=list)
    plugin: str = ""
    instances: frozenset[Plugin] = frozenset()
    of_consumer: dict[str, str] = field(default_factory=dict)
    attachments: list[JsonObject] = field(default_factory=list)

    @property
    def have_limits_alone(self) -> bool:
        """Whether each plan has limits, and none a quota: then one attachment may have the limits of others, too."""
        return all("limits" in plan["spec"] and "quotas" not in plan["spec"] for plan in self.documents)


def read_plans(deck: Deck, scene: Scene) -> Plans:
    """The plans of a file. Reports consumers of several groups that have one."""
    for name in PLANNED:
        instances = [plugin for plugin in deck.plugins if plugin.name == name and (plugin.consumer or plugin.group)]
        instances = [plugin for plugin in instances if not (plugin.route or plugin.service)]
        targets = [_target(plugin) for plugin in instances]
        if instances and all(map(_fits, instances)) and len(set(targets)) == len(targets):
            return _plans_of(name, instances, deck, scene)
    return Plans()


def _target(plugin: Plugin) -> tuple[str, str]:
    return ("consumer", plugin.consumer.name) if plugin.consumer else ("group", plugin.group)


def _fits(plugin: Plugin) -> bool:
    """Whether a Plan can say all of the instance: limits for each client at any scheme."""
    value = plugin.config.value
    limit_by = value.get("identifier", value.get("limit_by", "consumer"))
    protocols = plugin.fields.value.get("protocols") or []
    is_of_one_scheme = any(name in SECURE for name in protocols) != any(name in CLEAR for name in protocols)
    return (
        limit_by in ("consumer", "credential", None) and not is_of_one_scheme and not (plugin.consumer and plugin.group)
    )


def _plans_of(name: str, instances: Sequence[Plugin], deck: Deck, scene: Scene) -> Plans:
    consumer_names = scene.credentials.consumers.names
    plans, names = Plans(plugin=name, instances=frozenset(instances)), dict[tuple[str, str], str]()
    taken = set[str]()
    settings: dict[str, JsonObject] = {}
    for plugin in instances:
        kind, target = _target(plugin)
        spec = _spec(plugin, scene, settings)
        if spec is None:
            return Plans()
        base = slug(consumer_names.get(target, target) if kind == "consumer" else target) or "plan"
        plan = unique(base, taken) if base in taken else base
        taken.add(plan)
        names[kind, target] = plan
        document: JsonObject = {"apiVersion": "gatewright.dev/v1", "kind": "Plan", "metadata": {"name": plan}}
        plans.documents.append({**document, "spec": spec})
    plans.attachments = [attach(policy, {"plan": True, **params}) for policy, params in settings.items()]
    for consumer in deck.consumers:
        if plan := _plan_of(consumer, names, deck):
            plans.of_consumer[consumer.name] = plan
    return plans


def _spec(plugin: Plugin, scene: Scene, settings: dict[str, JsonObject]) -> JsonObject | None:
    """The plan of an instance; None if a Plan cannot have it. settings: what its attachments say else, by policy."""
    try:
        attachments = COUNTERPARTS[plugin.name].convert(plugin, scene)
    except NoCounterpartError:
        return None
    spec: JsonObject = {}
    for attachment in attachments:
        params = dict(attachment["params"])
        params.pop("key")
        if attachment["name"] == "rate-limit":
            spec["limits"] = params.pop("limits")
        else:
            spec["quotas"] = [{"requests": params.pop("requests"), "period": params["period"]}]
        settings[attachment["name"]] = {**settings.get(attachment["name"], {}), **params}
    return spec if spec and all(map(_is_within, spec.get("limits", []))) else None


def _is_within(limit: JsonObject) -> bool:
    seconds = int(limit["per"][:-1]) * {"s": 1, "m": 60, "h": 3600, "d": 86_400}[limit["per"][-1]]
    return 0 < seconds <= LONGEST_SECONDS and 0 < limit["requests"] <= min(MOST_REQUESTS, 1_000_000 * seconds)


def _plan_of(consumer: Consumer, names: dict[tuple[str, str], str], deck: Deck) -> str:
    """The plan of a consumer: its own, or that of the first of its groups; "" for none."""
    if own := names.get(("consumer", consumer.name)):
        return own
    of_groups = [names["group", group] for group in consumer.groups if ("group", group) in names]
    if len(of_groups) > 1:
        reason = f"a Consumer has one plan: of its groups, {of_groups[0]} counts"
        deck.report.changed(consumer.fields.path, reason, "set spec.plan of the Consumer")
    return of_groups[0] if of_groups else ""
