"""Kong's routes as contexts and operations.

Kong tries all routes in one order; Gatewright finds the longest context, then the most specific host of it, then one
of its operations. So each context on each host has operations of all routes that Kong would try there: a route that
takes requests below the context of another one has operations in both. A context on a host is left out if it has the
operations of the same context on more general hosts, which serves it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from gatewright_controller.resource.hosts import EVERY_HOST, covers_host

from gatewright_cli.kong.report import Report
from gatewright_cli.kong.templates import Template
from gatewright_cli.kong.ways import Way, describe

ANY_METHOD = "*"
Context = tuple[str, ...]


@dataclass(frozen=True)
class Choice:
    """An operation: the requests of this method and template below the context go this way."""

    method: str
    template: Template
    way: Way


@dataclass
class ApiPlan:
    """A context on some hosts; none for every host."""

    context: Context
    hosts: list[str]
    choices: list[Choice]
    names: list[str] = field(default_factory=list)

    @property
    def path(self) -> str:
        """The context as text."""
        return "/" + "/".join(self.context)


def plan_apis(ways: Sequence[Way], report: Report) -> list[ApiPlan]:
    """The contexts and operations of all ways, which stand in Kong's order."""
    contexts = _contexts_of(ways)
    plans: dict[tuple[Context, tuple[object, ...]], ApiPlan] = {}
    served: dict[tuple[str, Context], tuple[object, ...]] = {}
    used: set[int] = set()
    for host in sorted({EVERY_HOST, *(way.host for way in ways)}, key=_generality):
        covering = [way for way in ways if way.host == EVERY_HOST or covers_host(way.host, host)]
        own = {contexts[id(way)] for way in covering}
        specific = [way for way in covering if way.host == host]
        for context in sorted(own):
            if all(way.template.below(context) is None for way in specific):
                continue
            choices = _choices(covering, context, own, report)
            used.update(id(choice.way.route) for choice in choices)
            key = tuple(_key(choice, host) for choice in choices)
            more_general = next((served[other, context] for other in _covering(host, served, context)), None)
            if key == more_general or not choices:
                continue
            served[host, context] = key
            plan = plans.setdefault((context, key), ApiPlan(context, [], choices))
            plan.hosts += [] if host == EVERY_HOST else [host]
            plan.names.append(host)
    for way in ways:
        if id(way.route) not in used:
            report.left_out(way.route.fields.path, "other routes take all its requests, as in Kong", "remove it")
    return _apart(plans.values())


def _key(choice: Choice, host: str) -> tuple[object, ...]:
    """Equal for operations that do the same."""
    way = choice.way
    headers = tuple(tuple(sorted(match.items())) for match in way.headers)
    return choice.method, choice.template.shape, id(way.route), way.template.segments, headers, _host_of(way, host)


def _host_of(way: Way, host: str) -> str:
    """What an operation says of the host: Kong's preserve_host names it."""
    return host if way.route.fields.flag("preserve_host") else ""


def _apart(plans: Iterable[ApiPlan]) -> list[ApiPlan]:
    """Every host is an API without hosts; it cannot be one together with names."""
    apart = []
    for plan in plans:
        if EVERY_HOST in plan.names and plan.hosts:
            apart.append(ApiPlan(plan.context, [], plan.choices, [EVERY_HOST]))
            plan = ApiPlan(plan.context, plan.hosts, plan.choices, plan.hosts)
        apart.append(plan)
    return apart


def _generality(host: str) -> tuple[bool, bool, int, str]:
    """The most general first."""
    return host != EVERY_HOST, not host.startswith("*."), len(host), host


def _covering(host: str, served: Iterable[tuple[str, Context]], context: Context) -> list[str]:
    """More general hosts that have the context, the most specific of them first."""
    hosts = [other for other, has in served if has == context and (other == EVERY_HOST or covers_host(other, host))]
    return sorted(hosts, key=_generality, reverse=True)


def _contexts_of(ways: Sequence[Way]) -> dict[int, Context]:
    """The context of each way: its whole prefix, or the beginning of its expression that has only literals; shorter
    where an expression of the same service has a shorter one.
    """
    found = {id(way): way.template.plain_prefix for way in ways}
    shared: dict[int, set[Context]] = {}
    for way in ways:
        shared.setdefault(id(way.route.service), set()).add(found[id(way)])
    for way in ways:
        if way.template.is_regex:
            context = found[id(way)]
            beginnings = (context[:end] for end in range(1, len(context)))
            found[id(way)] = next(
                (shorter for shorter in beginnings if shorter in shared[id(way.route.service)]), context
            )
    return found


def _choices(ways: Sequence[Way], context: Context, contexts: set[Context], report: Report) -> list[Choice]:
    parts = [(way, part) for way in ways if (part := way.template.below(context)) is not None]
    deeper = [other for other in contexts if len(other) > len(context) and other[: len(context)] == context]
    parts = [(way, part) for way, part in parts if not _is_below(context, part, deeper)]
    shapes = dict.fromkeys(part.shape for _, part in parts)
    choices: list[Choice] = []
    for segments, is_open in shapes:
        template = Template(segments, is_open)
        taking = [(way, part) for way, part in parts if part.covers(template)]
        last = max(index for index, (_, part) in enumerate(taking) if part.shape == template.shape)
        choices += _by_method(template, [way for way, _ in taking[: last + 1]])
        _report_guards([way for way, _ in taking], report)
    _report_order(choices, report)
    return choices


def _report_guards(ways: Sequence[Way], report: Report) -> None:
    """Reports routes behind one whose expression becomes a guard: Kong tries them with the paths that it refuses."""
    for index, way in enumerate(ways):
        others = [describe(other) for other in ways[index + 1 :] if other.route is not way.route]
        if way.template.guard and others and way.path_index >= 0:
            reason = (
                f"paths below it that are not of the expression get 404; Kong tries the route {others[0]} with them"
            )
            where = way.route.fields.where("paths", way.path_index)
            report.changed(
                where, reason, "write the path with parameters that take any segment, or add operations for the others"
            )


def _is_below(context: Context, part: Template, deeper: Iterable[Context]) -> bool:
    """Whether all its paths belong to a longer context."""
    whole = (*context, *part.plain_prefix)
    return any(whole[: len(other)] == other for other in deeper)


def _by_method(template: Template, ways: Sequence[Way]) -> Iterator[Choice]:
    """The operations of one template: for each method that a route names, and for any other."""
    named = list(dict.fromkeys(method for way in ways for method in way.methods))
    named += ["HEAD"] if "GET" in named and "HEAD" not in named else []  # which a GET operation would answer
    others = list(_until_unconditional(way for way in ways if not way.methods))
    for method in named:
        chain = list(_until_unconditional(way for way in ways if not way.methods or method in way.methods))
        if chain != others or method == "HEAD":
            yield from (Choice(method, template, way) for way in chain)
    yield from (Choice(ANY_METHOD, template, way) for way in others)


def _until_unconditional(ways: Iterable[Way]) -> Iterator[Way]:
    seen: list[tuple[object, ...]] = []
    for way in ways:
        if way.headers in seen:
            continue
        seen.append(way.headers)
        yield way
        if not way.headers:
            return


def _report_order(choices: Sequence[Choice], report: Report) -> None:
    """Reports pairs of routes that Kong tries in the other order than an API does."""
    for index, first in enumerate(choices):
        for second in choices[index + 1 :]:
            if first.way.route is second.way.route or not _meet(first, second):
                continue
            winner, loser = sorted((first, second), key=lambda choice: choice.way.order)
            if _precedence(winner) > _precedence(loser) and not _is_repeated(winner, loser, choices):
                _report_pair(winner.way, loser.way, report)


def _is_repeated(winner: Choice, loser: Choice, choices: Sequence[Choice]) -> bool:
    """Whether the winner's route has another operation, before the loser's, for the requests that meet both."""
    methods = {ANY_METHOD, winner.method if loser.method == ANY_METHOD else loser.method}
    return any(
        choice.way.route is winner.way.route
        and choice.method in methods
        and choice.template.covers(loser.template)
        and choice.way.headers in ((), winner.way.headers)
        and _precedence(choice) < _precedence(loser)
        for choice in choices
    )


def _report_pair(winner: Way, loser: Way, report: Report) -> None:
    reason = f"order: Kong tries it before the route {describe(loser)}, which comes first here if a request meets both"
    path = next((key for key in ("paths", "hosts", "methods") if winner.route.fields.has(key)), "name")
    report.changed(winner.route.fields.where(path), reason, "make paths, methods or headers of the two distinct")


def _meet(first: Choice, second: Choice) -> bool:
    methods = first.method == second.method or ANY_METHOD in (first.method, second.method)
    return methods and first.template.meets(second.template) and not _exclude(first.way.headers, second.way.headers)


def _exclude(first: Sequence[dict[str, object]], second: Sequence[dict[str, object]]) -> bool:
    """Whether two lists of headers ask for different values of the same one."""
    exact = {str(match["name"]).lower(): str(match["exact"]).lower() for match in first if "exact" in match}
    theirs = {str(match["name"]).lower(): str(match["exact"]).lower() for match in second if "exact" in match}
    return any(name in theirs and theirs[name] != value for name, value in exact.items())


def _precedence(choice: Choice) -> tuple[object, ...]:
    """docs/reference/matching.md: the narrower path, a named method, more headers."""
    kinds = tuple(1 if segment is None else 0 for segment in choice.template.segments)
    ends = (2,) if choice.template.is_open else ()
    return choice.template.is_open, (*kinds, *ends), choice.method == ANY_METHOD, -len(choice.way.headers)
