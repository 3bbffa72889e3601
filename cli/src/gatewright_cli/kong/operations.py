"""Documents of APIs, of contexts and their operations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from gatewright_controller.model.routing import IDEMPOTENT
from gatewright_documents.values import JsonObject

from gatewright_cli.kong.chains import Attached, Chains
from gatewright_cli.kong.deck import Route, Service
from gatewright_cli.kong.names import slug, unique
from gatewright_cli.kong.report import Report
from gatewright_cli.kong.router import ANY_METHOD, ApiPlan, Choice
from gatewright_cli.kong.templates import Template

UNUSED = "http://192.0.2.1"
"""An address for documentation (RFC 5737), for APIs whose operations all answer: an API has a pool."""


@dataclass
class ApiDraft:
    """A document, and where its parts come from: the route of each operation, the plugin of each attachment."""

    document: JsonObject
    routes: list[Route]
    api_level: list[Attached]
    operation_level: list[list[Attached]]
    services: dict[str, Service] = field(default_factory=dict)
    """By the names of pools."""


@dataclass(frozen=True)
class Upstreams:
    """Pools and settings of services."""

    pools: dict[int, JsonObject]
    settings: dict[int, JsonObject]


def draft_api(plan: ApiPlan, name: str, upstreams: Upstreams, chains: Chains, report: Report) -> ApiDraft:
    """The API of a context."""
    choices = list({_identity(plan, choice): choice for choice in reversed(plan.choices)}.values())[::-1]
    attached = [chains.of(choice.way) for choice in choices]
    shared = _shared_beginning(attached)
    rests = [items[len(shared) :] for items in attached]
    services = {id(service): service for choice in choices if (service := choice.way.route.service)}
    names = _pool_names(list(services.values()))
    settings = [upstreams.settings.get(id(choice.way.route.service), {}) for choice in choices]
    common = {key: value for key, value in settings[0].items() if all(item.get(key) == value for item in settings)}
    operations = [
        _operation(plan, choice, rest, names, {key: own[key] for key in own.keys() - common.keys()}, report)
        for choice, rest, own in zip(choices, rests, settings, strict=True)
    ]
    _report_preflight(rests, report)
    pools = {names[key]: upstreams.pools[key] for key in services} or {"main": {"url": UNUSED}}
    spec: JsonObject = {"version": "v1", "context": plan.path}
    spec |= {"hosts": plan.hosts} if plan.hosts else {}
    spec |= {"upstream": pools, **common}
    spec |= {"policies": [item.attachment for item in shared]} if shared else {}
    spec["operations"] = operations
    document = {"apiVersion": "gatewright.dev/v1", "kind": "Api", "metadata": {"name": name}, "spec": spec}
    by_name = {names[key]: service for key, service in services.items()}
    return ApiDraft(document, [choice.way.route for choice in choices], shared, rests, by_name)


def _identity(plan: ApiPlan, choice: Choice) -> tuple[object, ...]:
    headers = tuple(
        tuple(sorted((key, str(value).lower()) for key, value in match.items())) for match in choice.way.headers
    )
    return choice.method, choice.template.shape, headers, plan.path


def _pool_names(services: Sequence[Service]) -> dict[int, str]:
    """`main` for the only service; the services' names otherwise."""
    if len(services) == 1:
        return {id(services[0]): "main"}
    found: dict[int, str] = {}
    for service in services:
        found[id(service)] = unique(slug(service.name) or "service", found.values())
    return found


def _shared_beginning(chains: Sequence[Sequence[Attached]]) -> list[Attached]:
    """The attachments with which all operations begin: they are the API's own."""
    shared = []
    for items in zip(*chains, strict=False):
        if any(item.attachment != items[0].attachment for item in items):
            break
        shared.append(items[0])
    return shared


def _report_preflight(rests: Sequence[Sequence[Attached]], report: Report) -> None:
    for item in (item for rest in rests for item in rest):
        if item.plugin and item.attachment["name"] == "cors":
            reason = (
                "it is at some operations of an API: preflight requests meet it only where an operation takes OPTIONS"
            )
            report.changed(item.plugin.fields.where("name"), reason, "attach cors to the API")


def _operation(
    plan: ApiPlan,
    choice: Choice,
    attached: Sequence[Attached],
    pools: dict[int, str],
    settings: JsonObject,
    report: Report,
) -> JsonObject:
    way = choice.way
    operation: JsonObject = {"method": choice.method, "path": path_text(choice.template)}
    if way.headers:
        operation["headers"] = list(way.headers)
    if way.route.service is None:
        operation["answer"] = {"status": 503}
    else:
        pool = pools[id(way.route.service)]
        if pool != "main":
            operation["upstream"] = pool
        if rewrite := _rewrite(plan, choice, report):
            operation["rewrite"] = rewrite
        retried = choice.method == ANY_METHOD or choice.method in IDEMPOTENT
        operation |= {key: value for key, value in settings.items() if key != "retries" or retried}
    if attached:
        operation["policies"] = [item.attachment for item in attached]
    return operation


def path_text(template: Template) -> str:
    """The template as an operation's path."""
    texts = [_parameter(index) if segment is None else segment for index, segment in enumerate(template.segments)]
    return "/" + "/".join([*texts, *(["*"] if template.is_open else [])])


def _parameter(index: int) -> str:
    return f"{{p{index + 1}}}"


def _rewrite(plan: ApiPlan, choice: Choice, report: Report) -> JsonObject:
    """What the path is upstream, after the service's own path; nothing if it is the part below the context."""
    route = choice.way.route
    rewrite: JsonObject = {}
    if (
        route.fields.text("path_handling", "v0") == "v1"
        and route.service
        and route.service.fields.value.get("path", "/") != "/"
    ):
        reason = "paths are joined by a slash, as in v0; in v1 the service's path is put right before"
        report.changed(route.fields.where("path_handling"), reason, "correct the upstream's base path")
    if not route.fields.flag("strip_path", True):
        if plan.context:
            rewrite["prefix"] = plan.path
    else:
        rewrite |= _stripped(plan, choice)
    if route.fields.flag("preserve_host"):
        if len(plan.hosts) == 1 and not plan.hosts[0].startswith("*"):
            rewrite["host"] = plan.hosts[0]
        else:
            reason = "the upstream gets its own Host if the route has no host, or a pattern of hosts"
            report.changed(route.fields.where("preserve_host"), reason, "name the hosts, or read x-forwarded-host")
    return rewrite


def _stripped(plan: ApiPlan, choice: Choice) -> JsonObject:
    """The path without the part that the route's path has matched."""
    matched, below = len(choice.way.template.segments), choice.template
    if choice.way.template.strips_all or (choice.way.template.is_regex and not choice.way.template.is_open):
        return {"path": "/"}
    if matched <= len(plan.context):
        rest = _rest_of_context(plan, choice)
        return {"prefix": "/" + "/".join(rest)} if rest else {}
    segments = below.segments[matched - len(plan.context) :]
    names = [_parameter(index) for index in range(matched - len(plan.context), len(below.segments))]
    texts = [name if segment is None else segment for name, segment in zip(names, segments, strict=True)]
    return {"path": "/" + "/".join([*texts, *(["*"] if below.is_open else [])])}


def _rest_of_context(plan: ApiPlan, choice: Choice) -> list[str]:
    """The part of the context behind the route's path, which may end within a segment."""
    template = choice.way.template
    rest = list(plan.context[len(template.segments) :])
    last = template.segments[-1] if template.segments else None
    if last is not None and not template.is_regex:
        partial = plan.context[len(template.segments) - 1].removeprefix(last)
        rest = [partial, *rest] if partial else rest
    return rest
