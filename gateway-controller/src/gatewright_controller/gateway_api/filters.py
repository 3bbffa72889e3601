"""Filters of rules, as policies and fields of an operation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec
from gatewright_documents.values import JsonObject

from gatewright_controller.gateway_api.backends import Backend
from gatewright_controller.gateway_api.cluster import inner, items, number, text, texts
from gatewright_controller.gateway_api.conditions import Problem
from gatewright_controller.gateway_api.matches import RouteMatch, kept_path
from gatewright_controller.resource.definitions import Definitions

FindBackend = Callable[[JsonObject], Backend]
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
WELL_KNOWN = {"http": 80, "https": 443}
SET_HEADERS, CORS = "set-headers", "cors"
POLICY_VERSION = "v1"
POLICIES = {"RequestHeaderModifier": SET_HEADERS, "ResponseHeaderModifier": SET_HEADERS, "CORS": CORS}
"""What filters become."""
LONGEST_CORS_SECONDS = 86400
"""No browser keeps the answer to a preflight request for longer."""
KEPT_HOST: JsonObject = {"keepHost": True}
"""`rewrite` of an Api."""


class Filters(msgspec.Struct):
    """What a rule's filters say, once they are read."""

    cors: JsonObject | None = None
    request: JsonObject = msgspec.field(default_factory=dict)
    response: JsonObject = msgspec.field(default_factory=dict)
    redirect: JsonObject | None = None
    rewrite: JsonObject = msgspec.field(default_factory=dict)
    mirrors: list[tuple[Backend, float]] = msgspec.field(default_factory=list)
    problems: list[Problem] = msgspec.field(default_factory=list)

    def policies(self) -> tuple[list[JsonObject], list[JsonObject]]:
        """Those before all others, and those behind them."""
        first = [] if self.cors is None else [_policy(CORS, self.cors)]
        both = {"request": self.request, "response": self.response}
        params = {name: changes for name, changes in both.items() if changes}
        return first, [_policy(SET_HEADERS, params)] if params else []

    def rewrite_of(self, match: RouteMatch) -> JsonObject:
        """The operation's `rewrite`, in place of the Api's, with which upstreams are sent the client's Host header; an
        empty one where there is nothing to rewrite."""
        host, path = text(self.rewrite, "hostname"), replaced_path(inner(self.rewrite, "path"), match)
        if not host and not path:
            return {}
        return {**({"host": host} if host else KEPT_HOST), **({"path": path} if path else {})}

    def redirect_of(self, match: RouteMatch, scheme: str, port: int) -> JsonObject:
        """The operation's `redirect`. scheme, port: of the listener. Without a port of its own it goes to that of the
        scheme that it names, else to the listener's. A port that goes without saying is not said, if clients of the
        listener do not say theirs either."""
        found = self.redirect or {}
        named = text(found, "scheme")
        made: JsonObject = {"status": number(found, "statusCode", 302), "scheme": named or scheme}
        target = number(found, "port") or WELL_KNOWN.get(named) or port
        if target != WELL_KNOWN[named or scheme] or port != WELL_KNOWN[scheme]:
            made["port"] = target
        if host := text(found, "hostname"):
            made["host"] = host
        path = replaced_path(inner(found, "path"), match)
        return made | ({"path": path} if path else {})


def replaced_path(modifier: JsonObject, match: RouteMatch) -> str:
    """As an operation has it; "" where the path stays."""
    match text(modifier, "type"):
        case "ReplaceFullPath":
            return kept_path(text(modifier, "replaceFullPath", "/"))
        case "ReplacePrefixMatch":
            prefix = kept_path(text(modifier, "replacePrefixMatch", "/")).rstrip("/")
            return f"{prefix}/*" if match.is_prefix else prefix or "/"
    return ""


def read_filters(filters: Sequence[JsonObject], backend: FindBackend, policies: Definitions) -> Filters:
    """All filters of a rule. backend: what a mirror's reference means. policies: of this build."""
    made = Filters()
    for entry in filters:
        _read_filter(made, entry, backend)
    made.problems += _missing_policies({text(entry, "type"): None for entry in filters}, policies)
    if made.redirect is not None and (made.rewrite or made.mirrors):
        message = "expected no URLRewrite and no RequestMirror beside RequestRedirect, got both; remove one"
        made.problems.append(Problem("IncompatibleFilters", message))
    return made


def _missing_policies(filters: Iterable[str], policies: Definitions) -> Iterator[Problem]:
    for kind in filters:
        name = POLICIES.get(kind)
        if name and not policies.matching(name, POLICY_VERSION):
            message = (
                f"expected the policy {name} {POLICY_VERSION} in this build, which the filter {kind} becomes, "
                f"got none; add `- name: {name}` to the policies of the image's build.yaml, and build it again"
            )
            yield Problem("UnsupportedValue", message)


def _policy(name: str, params: JsonObject) -> JsonObject:
    return {"name": name, "version": POLICY_VERSION, "params": params}


def _read_filter(made: Filters, entry: JsonObject, backend: FindBackend) -> None:
    match text(entry, "type"):
        case "RequestHeaderModifier":
            _modify(made, made.request, inner(entry, "requestHeaderModifier"))
        case "ResponseHeaderModifier":
            _modify(made, made.response, inner(entry, "responseHeaderModifier"))
        case "RequestRedirect":
            made.redirect = inner(entry, "requestRedirect")
        case "URLRewrite":
            made.rewrite = inner(entry, "urlRewrite")
        case "RequestMirror":
            _mirror(made, inner(entry, "requestMirror"), backend)
        case "CORS":
            made.cors = _cors(inner(entry, "cors"))
        case kind:
            expected = "expected RequestHeaderModifier, ResponseHeaderModifier, RequestRedirect, URLRewrite, "
            known = f"{expected}RequestMirror or CORS, got a filter {kind}; attach policies by a PolicyAttachment"
            made.problems.append(Problem("UnsupportedValue", known))


def _modify(made: Filters, changes: JsonObject, modifier: JsonObject) -> None:
    """Parameters of set-headers, in which `${` begins a placeholder."""
    if changes:
        made.problems.append(Problem("IncompatibleFilters", "expected each header modifier once in a rule, got two"))
    for field_name, name in (("set", "set"), ("add", "append")):
        headers = items(modifier, field_name)
        if headers:
            changes[name] = [_header(header) for header in headers]
    if removed := texts(modifier, "remove"):
        changes["remove"] = removed


def _header(header: JsonObject) -> JsonObject:
    return {"name": text(header, "name"), "value": text(header, "value").replace("${", "$${")}


def _mirror(made: Filters, mirror: JsonObject, backend: FindBackend) -> None:
    """Of a mirror without a backend there is nothing but its problem: requests go on."""
    fraction = inner(mirror, "fraction")
    percent = float(number(mirror, "percent", 100))
    if fraction:
        percent = 100 * number(fraction, "numerator") / (number(fraction, "denominator", 100) or 100)
    if percent > 0:
        made.mirrors.append((backend(inner(mirror, "backendRef")), min(percent, 100.0)))


def _cors(cors: JsonObject) -> JsonObject:
    """Parameters of cors. What the specification has as all origins includes pages that send credentials."""
    origins = [_origin(origin) for origin in texts(cors, "allowOrigins")] or ["*"]
    made: JsonObject = {"allowOrigins": list(dict.fromkeys(origins)), "preflightLists": "all"}
    credentials = cors.get("allowCredentials") is True
    if credentials:
        made["allowCredentials"] = True
    if credentials and "*" in origins:
        made["echoOrigin"] = True
    for name in ("allowMethods", "allowHeaders"):
        if listed := texts(cors, name):
            made[name] = listed
    if exposed := [name for name in texts(cors, "exposeHeaders") if name != "*" or not credentials]:
        made["exposeHeaders"] = exposed
    made["maxAgeSeconds"] = min(number(cors, "maxAge", 5), LONGEST_CORS_SECONDS)
    return made


def _origin(origin: str) -> str:
    """As browsers send it: in lower case, and without the port that goes without saying."""
    folded = origin.lower()
    scheme = folded.partition("://")[0]
    return folded.removesuffix(f":{WELL_KNOWN[scheme]}") if scheme in WELL_KNOWN else folded
