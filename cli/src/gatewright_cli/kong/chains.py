"""The plugins that Kong runs for a route, in its order, as attachments.

Of each plugin one instance runs: the most specific one. An instance of a consumer or a group runs for its requests
only, so it has a condition, and the less specific ones have the opposite of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from gatewright_documents.values import JsonObject

from gatewright_cli.kong.attachments import NoCounterpartError, Scene, all_of, attach, closed, under
from gatewright_cli.kong.counterparts import COUNTERPARTS, CURES, IDENTIFYING, OBSERVERS, PRIORITIES
from gatewright_cli.kong.credentials import Credentials
from gatewright_cli.kong.deck import Deck, Plugin, Route
from gatewright_cli.kong.expressions import cel_text
from gatewright_cli.kong.plans import HAS_PLAN, Plans
from gatewright_cli.kong.ways import CLEAR, SECURE, Way

LONGEST_CONDITION = 2048
UNKNOWN_PRIORITY = 1_000
PRECEDENCE = (
    ("consumer", "route", "service"),
    ("group", "route", "service"),
    ("consumer", "route"),
    ("consumer", "service"),
    ("group", "route"),
    ("group", "service"),
    ("route", "service"),
    ("consumer",),
    ("group",),
    ("route",),
    ("service",),
    (),
)
"""Kinds of instances, the most specific first."""


@dataclass(frozen=True)
class Attached:
    """An attachment and the plugin that it stands for; None for a condition of the route itself."""

    attachment: JsonObject
    plugin: Plugin | None = None


@dataclass
class Chains:
    """The attachments of routes. without: plugins that are left out without closing their routes. broken: plugins whose
    attachments the validation refuses, and why.
    """

    deck: Deck
    credentials: Credentials
    plans: Plans
    without: frozenset[str] = frozenset()
    broken: dict[int, str] = field(default_factory=dict)
    used: set[int] = field(default_factory=set)

    def of(self, way: Way) -> list[Attached]:
        """The attachments of an operation that goes this way: what a browser asks first, then the route's own
        conditions, then the plugins.
        """
        attached = list(self._plugins_of(way.route))
        first = [item for item in attached if item.attachment["name"] == "cors"]
        rest = [item for item in attached if item.attachment["name"] != "cors"]
        return [*first, *(Attached(guard) for guard in _guards(way)), *rest]

    def report_unused(self) -> None:
        """Reports plugins that no route has got."""
        for plugin in self.deck.plugins:
            if id(plugin) not in self.used and plugin.fields.path not in self.deck.report.findings:
                reason = "no route of the file runs it"
                if plugin in self.plans.instances:
                    cure = "attach rate-limit with plan: true"
                    self.deck.report.changed(
                        plugin.fields.where("name"), f"{reason}: it is a Plan that no API applies", cure
                    )
                    continue
                if plugin.consumer or plugin.group:
                    reason += ": it is limited to clients that no plugin of these routes, or no credential, tells apart"
                self.deck.report.left_out(plugin.fields.path, reason, "attach the policy by hand where it is needed")

    def _plugins_of(self, route: Route) -> Iterator[Attached]:
        applying = [plugin for plugin in self.deck.plugins if _applies(plugin, route)]
        identifying = [name for name in _order(applying) if name in IDENTIFYING]
        scene = Scene(self.deck, self.credentials, bool(identifying))
        knows_plans = bool(identifying) and self._finds_consumers(identifying[-1])
        for name in _order(applying):
            plugins = [plugin for plugin in applying if plugin.name == name]
            if name == self.plans.plugin and knows_plans:
                yield from self._with_plans(plugins, scene)
                continue
            for plugin, condition in self._instances(plugins, scene.is_identified):
                yield from self._attached(plugin, scene, condition)

    def _finds_consumers(self, name: str) -> bool:
        """Whether clients that this plugin identifies are consumers of the controller, with their plans."""
        return name != "oauth2-introspection" and (name != "basic-auth" or self.credentials.are_passwords_keys)

    def _with_plans(self, plugins: Sequence[Plugin], scene: Scene) -> Iterator[Attached]:
        """The instances of consumers and groups as their plans, which come before those of routes and services."""
        others = [plugin for plugin in plugins if plugin not in self.plans.instances]
        planned = [plugin for plugin in plugins if plugin in self.plans.instances]
        self.used.update(map(id, planned))
        found = list(self._instances(others, scene.is_identified))
        first = [item for item in found if _specificity(item[0]) < PRECEDENCE.index(("consumer",))]
        for plugin, condition in first:
            yield from self._attached(plugin, scene, condition)
        before = all_of([f"!({condition})" for _, condition in first])
        rest = [item for item in found if item not in first]
        own = [item for plugin, condition in rest for item in self._attached(plugin, scene, condition)]
        if not before and self.plans.have_limits_alone and [item.attachment["name"] for item in own] == ["rate-limit"]:
            (item,), (plan,) = own, self.plans.attachments
            if not item.attachment.get("when"):
                params = {**plan["params"], **item.attachment["params"]}
                yield Attached({**item.attachment, "params": params}, item.plugin)
                return
        yield from (Attached(under(attachment, before), planned[0]) for attachment in self.plans.attachments)
        yield from (Attached(under(item.attachment, f"!({HAS_PLAN})"), item.plugin) for item in own)

    def _attached(self, plugin: Plugin, scene: Scene, condition: str) -> Iterator[Attached]:
        self.used.add(id(plugin))
        for attachment in self._attachments(plugin, scene):
            yield Attached(under(attachment, condition), plugin)

    def _instances(self, plugins: Sequence[Plugin], identified: bool) -> Iterator[tuple[Plugin, str]]:
        """Each instance with the condition under which it is the one that runs."""
        earlier: list[str] = []
        for plugin in sorted(plugins, key=_specificity):
            own = self._client_condition(plugin)
            if (plugin.consumer or plugin.group) and (not own or not identified):
                continue
            condition = all_of([*(f"!({other})" for other in earlier), own, _scheme_condition(plugin)])
            if len(condition.encode()) > LONGEST_CONDITION:
                reason, cure = "its condition would be longer than 2048 bytes", "attach the policy by hand"
                self.deck.report.left_out(plugin.fields.path, reason, cure)
                continue
            yield plugin, condition
            if not own:
                return
            earlier.append(own)

    def _client_condition(self, plugin: Plugin) -> str:
        if plugin.consumer:
            return self.credentials.is_consumer(plugin.consumer.name)
        return self.credentials.in_groups("group", [plugin.group]) if plugin.group else ""

    def _attachments(self, plugin: Plugin, scene: Scene) -> list[JsonObject]:
        plugin.fields.see("instance_name", "run_on", "ordering", "protocols")
        counterpart, report = COUNTERPARTS.get(plugin.name), self.deck.report
        if plugin.name in OBSERVERS:
            report.left_out(plugin.fields.path, "the node observes requests itself", OBSERVERS[plugin.name])
            return []
        try:
            if counterpart is None:
                cure = CURES.get(plugin.name, "write it in Python: `gatewright new policy NAME`")
                raise NoCounterpartError(f"the plugin {plugin.name} has no counterpart", cure)
            if id(plugin) in self.broken:
                raise NoCounterpartError(self.broken[id(plugin)], "attach the policy by hand")
            return counterpart.convert(plugin, scene)
        except NoCounterpartError as error:
            closes = (counterpart is None or counterpart.guards) and plugin.name not in self.without
            state = "; its routes are closed: they answer 501" if closes else ""
            report.left_out(plugin.fields.path, f"{error.reason}{state}", error.cure)
            return [closed(plugin.name)] if closes else []


def _applies(plugin: Plugin, route: Route) -> bool:
    return plugin.route in (None, route) and plugin.service in (None, route.service)


def _specificity(plugin: Plugin) -> int:
    named = [key for key in ("consumer", "group", "route", "service") if getattr(plugin, key)]
    return PRECEDENCE.index(tuple(named)) if tuple(named) in PRECEDENCE else 0


def _order(plugins: Sequence[Plugin]) -> list[str]:
    """The names in the order in which Kong runs them: by priority, and by `ordering` of an instance."""
    names = sorted(
        {plugin.name for plugin in plugins}, key=lambda name: (-PRIORITIES.get(name, UNKNOWN_PRIORITY), name)
    )
    for plugin in plugins:
        ordering = plugin.fields.at("ordering")
        for key, is_before in (("before", True), ("after", False)):
            places = [
                names.index(name) for name in ordering.at(key).texts("access") if name in names and name != plugin.name
            ]
            if places:
                here = names.index(plugin.name)
                target = min(places) if is_before else max(places)
                if (here > target) == is_before:
                    names.insert(target, names.pop(here))
    return names


def _scheme_condition(plugin: Plugin) -> str:
    protocols = plugin.fields.texts("protocols")
    secure, clear = any(name in SECURE for name in protocols), any(name in CLEAR for name in protocols)
    return "" if secure == clear else f'request.scheme == "{"https" if secure else "http"}"'


def _guards(way: Way) -> Iterator[JsonObject]:
    """Answers to requests that the route does not take, though the operation does."""
    if way.scheme == "https":
        body = '{"message":"Please use HTTPS protocol"}'
        params = {"statusCode": 426, "body": body, "contentType": "application/json"}
        yield attach("respond", params, 'request.scheme == "http"')
    elif way.scheme == "http":
        yield attach("respond", {"statusCode": 404}, 'request.scheme == "https"')
    if way.template.guard:
        when = f"!request.path.matches({cel_text(way.template.guard)})"
        yield attach("cel-authz", {"deny": [{"name": "path", "when": when}], "statusCode": 404})
