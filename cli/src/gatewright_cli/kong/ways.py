"""Ways: one path of a route on one of its hosts, in the order in which Kong's router tries them.

The order is that of the router flavours traditional and traditional_compat: more kinds of conditions first, then plain
hosts, more headers, regular expressions by regex_priority, longer prefixes, older routes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gatewright_controller.resource.hosts import EVERY_HOST, HostSyntaxError, check_host, is_address
from gatewright_documents.mistake import shown
from gatewright_documents.values import JsonObject

from gatewright_cli.kong.deck import Deck, Route
from gatewright_cli.kong.expressions import escape_regex
from gatewright_cli.kong.report import Report
from gatewright_cli.kong.templates import PLAIN_DOT, PathError, Template, parse_route_path

HTTP = ("http", "https", "grpc", "grpcs", "ws", "wss")
CLEAR, SECURE = ("http", "grpc", "ws"), ("https", "grpcs", "wss")
LONGEST_MATCH = 256
WHOLE_SEGMENTS = "a path is matched by whole segments: /foo takes /foo and /foo/bar, and not /foobar as in Kong"


@dataclass(frozen=True, eq=False)
class Way:
    """host: a name, a pattern, or `*`. methods: none for any. headers: as an operation's. order: by which ways are
    sorted. scheme: the only one of its requests, "" for both. path_index: of its path in the
    route; -1 if that has none.
    """

    route: Route
    host: str
    template: Template
    methods: tuple[str, ...]
    headers: tuple[JsonObject, ...]
    order: tuple[float, ...]
    scheme: str = ""
    path_index: int = -1


def ways_of(deck: Deck) -> list[Way]:
    """All ways of the enabled routes, those that Kong tries first at the beginning. Reports what a route loses."""
    ways = [way for route in deck.routes for way in _ways_of(deck, route)]
    return sorted(ways, key=lambda way: way.order)


def _ways_of(deck: Deck, route: Route) -> Iterator[Way]:
    fields, report = route.fields, deck.report
    if route.service and not route.service.enabled:
        report.left_out(fields.path, "its service is disabled in Kong, and no API is made of it")
        return
    if not _check_kind(route, report):
        return
    headers = _headers(route, report)
    paths = list(_paths(deck, route))
    if headers is None or not paths:
        if headers is not None:
            report.left_out(fields.path, "none of its paths can be written in an API", "write its operations by hand")
        return
    hosts = list(_hosts(route, report))
    if not hosts:
        report.left_out(fields.path, "none of its hosts can be written in an API", "name the hosts that clients use")
        return
    methods = tuple(fields.texts("methods"))
    scheme = _scheme(route, report)
    plain = bool(fields.texts("hosts")) and not any("*" in host for host in fields.texts("hosts"))
    weight = sum(bool(fields.value.get(key)) for key in ("methods", "hosts", "headers", "paths"))
    if "GET" in methods and "HEAD" not in methods:
        report.changed(fields.where("methods"), "an operation of GET answers HEAD too, unless another route takes it")
    for template, length, index in paths:
        priority = fields.whole("regex_priority") if template.is_regex else 0
        order = (-weight, -plain, -len(headers), -template.is_regex, -priority, -length, route.age, route.order)
        yield from (Way(route, host, template, methods, headers, order, scheme, index) for host in hosts)


def _check_kind(route: Route, report: Report) -> bool:
    """Whether requests of HTTP can meet the route, by conditions that an operation can have."""
    fields = route.fields
    protocols = fields.texts("protocols") or ["http", "https"]
    fields.see("service")
    if not any(protocol in HTTP for protocol in protocols):
        report.left_out(
            fields.path, f"{' and '.join(protocols)} is no protocol of APIs", "pass such connections by the gateway"
        )
        return False
    for key, what in (
        ("snis", "server names of TLS"),
        ("sources", "addresses of clients"),
        ("destinations", "addresses and ports of the gateway"),
        ("expression", "an expression"),
    ):
        if fields.has(key) and fields.value[key]:
            cure = "limit it by a policy: ip-restriction, or cel-authz; or name a listener in the API"
            report.left_out(fields.path, f"no operation is chosen by {what} ({key})", cure)
            return False
    fields.see("snis", "sources", "destinations", "expression", "priority")
    for key in ("request_buffering", "response_buffering"):
        if fields.flag(key, True):
            report.changed(fields.where(key), "bodies stream, unless a policy wants them whole") if fields.has(
                key
            ) else None
    return True


def _scheme(route: Route, report: Report) -> str:
    """The only scheme of its requests; "" for both."""
    fields = route.fields
    protocols = fields.texts("protocols")
    secure, clear = any(name in SECURE for name in protocols), any(name in CLEAR for name in protocols)
    status = fields.whole("https_redirect_status_code", 426)
    if secure and not clear and status != 426:
        cure = "redirect on the Gateway's listener of port 80: redirect: {}"
        report.changed(fields.where("https_redirect_status_code"), f"requests in clear get 426, and not {status}", cure)
    return "" if secure == clear else "https" if secure else "http"


def _hosts(route: Route, report: Report) -> Iterator[str]:
    hosts = route.fields.texts("hosts")
    if not hosts:
        yield EVERY_HOST
    for index, host in enumerate(hosts):
        where = route.fields.where("hosts", index)
        name, colon, port = host.rpartition(":") if not host.startswith("[") else (host, "", "")
        if colon and port.isdecimal():
            report.changed(where, "a host has every port", "name a listener in the API to limit it to a port")
            host = name
        try:
            check_host(host.lower())
        except HostSyntaxError as error:
            report.left_out(where, str(error), "name each host that clients use")
            continue
        if is_address(host):
            report.changed(where, "an address is compared as a name")
        yield host.lower()


def _paths(deck: Deck, route: Route) -> Iterator[tuple[Template, int, int]]:
    """Templates, the lengths of prefixes, and the positions of paths."""
    paths = route.fields.texts("paths")
    if not paths:
        yield Template(), 0, -1
    for index, path in enumerate(paths):
        where = route.fields.where("paths", index)
        is_regex = deck.source.is_regex(path)
        try:
            template = parse_route_path(path, is_regex=is_regex)
        except PathError as error:
            deck.report.left_out(where, str(error), "write its operations by hand")
            continue
        if template.guard:
            reason = "its segments are parameters, and cel-authz answers 404 to paths that are not of the expression"
            deck.report.changed(where, reason)
        elif is_regex and PLAIN_DOT.search(path):
            deck.report.changed(where, "a dot between letters or digits is a dot here, and no other character")
        elif template.segments and template.segments[-1] is not None and template.is_open and not path.endswith("*"):
            reason = f"{WHOLE_SEGMENTS}; /foo/ takes /foo too" if path.endswith("/") else WHOLE_SEGMENTS
            deck.report.changed(where, reason)
        yield template, 0 if is_regex else len(path), index


def _headers(route: Route, report: Report) -> tuple[JsonObject, ...] | None:
    """As an operation's headers; None if they cannot be written, which leaves the route out."""
    found = []
    for name, values in route.fields.lists("headers").items():
        match = header_match(name, values)
        if match is None:
            report.left_out(
                route.fields.path, f"its values of the header {name} are too long for an operation", "write it by hand"
            )
            return None
        found.append(match)
    return tuple(found)


def header_match(name: str, values: list[str]) -> JsonObject | None:
    """A header with one of these values, whatever the case of letters. `~*` begins a regular expression."""
    if len(values) == 1 and not values[0].startswith("~*"):
        value = values[0]
        return {"name": name, "exact": value, "ignoreCase": True} if len(value) <= LONGEST_MATCH else None
    parts = [f".*(?:{value[2:]}).*" if value.startswith("~*") else escape_regex(value) for value in values]
    regex = f"(?i)(?:{'|'.join(parts)})"
    return {"name": name, "regex": regex} if values and len(regex) <= LONGEST_MATCH else None


def describe(way: Way) -> str:
    """The route's name, for messages."""
    return shown(way.route.name)
