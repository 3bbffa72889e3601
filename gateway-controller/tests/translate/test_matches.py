"""Which operation a request meets: by a plain reading of docs/reference/matching.md, by routes of operations and the
real Envoy, and by the table of operations that share a route and the real engine."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import re
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, unquote_plus

import msgspec
import pytest
from envoy.config.route.v3 import route_components_pb2
from gatewright_controller.model import Api, HeaderMatch, Operation
from gatewright_controller.resource.definitions import Definitions
from gatewright_controller.resource.matches import matches_of, operation_name
from gatewright_controller.translate import EdgeSettings, translate
from gatewright_controller.validation import validate
from gatewright_documents.mistake import Invalid
from gatewright_documents.values import JsonObject
from google.protobuf.json_format import MessageToJson
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from .engine_checks import ENGINE, compile_checks

pytestmark = pytest.mark.timeout(300)
TYPE = "type.googleapis.com/envoy"
STANDARD = {"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"}
PATHS = {
    "/": "/",
    "/x": "/x",
    "/{id}": "/[^/]+",
    "/x/*": "/x(/.*)?",
    "/*": "(/.*)?",
}
"""Templates in the order of precedence, and the paths that each matches."""
WIDER = {"/": {"/*"}, "/x": {"/{id}", "/x/*", "/*"}, "/{id}": {"/*"}, "/x/*": {"/*"}, "/*": set[str]()}
"""The templates that cover a path."""


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: tuple[tuple[str, str], ...] = ()
    query: str = ""


# ---------------------------------------------------------------- the plain reading


def outcome(operations: Sequence[Operation], strict: bool, request: Request) -> str:
    """The name of the operation that a request meets, or what it is answered instead."""
    paths = [path for path in PATHS if any(operation.path == path for operation in operations)]
    here = [path for path in paths if re.fullmatch(PATHS[path], request.path)]
    for path in here:
        at = [operation for operation in operations if operation.path == path]
        if strict and any(is_ambiguous(request.query, match) for operation in at for match in operation.query):
            return "400"
        for operation in sorted(at, key=precedence):
            if takes(operation, request.method) and fits(operation, request):
                return operation_name(operation)
    if not here:
        return "404"
    covering = [operation for operation in operations if operation.path == here[0] or operation.path in WIDER[here[0]]]
    always = [operation for operation in covering if not (operation.headers or operation.query)]
    if request.method == "OPTIONS" and not any(operation.method in ("OPTIONS", "*") for operation in always):
        return "204"
    lacking = any(takes(operation, request.method) for operation in covering if operation.headers or operation.query)
    return "404" if lacking else "405"


def precedence(operation: Operation) -> tuple[int, int, int]:
    return {"HEAD": 0, "*": 2}.get(operation.method, 1), -len(operation.headers), -len(operation.query)


def takes(operation: Operation, method: str) -> bool:
    if operation.method == "*":
        return method.upper() == method and method != "TRACE"
    return method == operation.method or (method, operation.method) == ("HEAD", "GET")


def fits(operation: Operation, request: Request) -> bool:
    for match in operation.headers:
        values = [value for name, value in request.headers if name == match.name.lower()]
        if match.absent is True:
            if values:
                return False
        elif not any(header_says(match, value) for value in values):
            return False
    return all(query_says(match, request.query) for match in operation.query)


def header_says(match: Any, value: str) -> bool:
    if getattr(match, "present", None) is True:
        return True
    for kind, holds in KINDS.items():
        wanted = getattr(match, kind)
        if isinstance(wanted, str):
            fold = str.lower if getattr(match, "ignore_case", False) else str
            return holds(fold(value), fold(wanted)) if kind != "regex" else holds(value, wanted)
    raise AssertionError(match)


KINDS: dict[str, Callable[[str, str], bool]] = {
    "exact": lambda value, wanted: value == wanted,
    "prefix": lambda value, wanted: value.startswith(wanted),
    "suffix": lambda value, wanted: value.endswith(wanted),
    "contains": lambda value, wanted: wanted in value,
    "regex": lambda value, wanted: re.fullmatch(wanted, value) is not None,
}


def query_says(match: Any, query: str) -> bool:
    name = match.name
    values = [part.partition("=")[2] for part in query.split("&") if query and part.partition("=")[0] == name]
    if match.absent is True:
        return not values
    if not values:
        return False
    for kind in ("exact", "prefix", "regex"):
        wanted = getattr(match, kind)
        if isinstance(wanted, str):
            return KINDS[kind](values[0] if kind == "regex" else unquote_plus(values[0]), wanted)
    return True


def is_ambiguous(query: str, match: Any) -> bool:
    parts = [part.partition("=") for part in query.split("&") if query]
    found = [part for part in parts if unquote(part[0]) == match.name]
    plain = all(part[0] == match.name for part in found)
    needless = r"%(2[DE]|3\d|4[1-9A-F]|5[\dAF]|6[1-9A-F]|7[\dAE])"
    as_sent = isinstance(match.regex, str) and any(re.search(needless, part[2], re.I) for part in found)
    return len(found) > 1 or not plain or as_sent


# ---------------------------------------------------------------- APIs and requests

TEXTS = ["a", "b", "ab", "A"]
REGEXES = ["a+", "[ab]b?"]


def header_matches(name: str) -> st.SearchStrategy[JsonObject]:
    kinds = st.sampled_from(["exact", "prefix", "suffix", "contains"])
    folded = st.sampled_from([{}, {}, {"ignoreCase": True}])
    text = st.builds(lambda kind, value, fold: {kind: value, **fold}, kinds, st.sampled_from(TEXTS), folded)
    others = st.sampled_from(
        [{"regex": regex} for regex in REGEXES] + [{"present": True}, {"absent": True}, {"exact": ""}]
    )
    return st.builds(lambda condition: {"name": name, **condition}, text | others)


def query_matches(name: str) -> st.SearchStrategy[JsonObject]:
    text = st.builds(lambda kind, value: {kind: value}, st.sampled_from(["exact", "prefix"]), st.sampled_from(TEXTS))
    others = st.sampled_from(
        [{"regex": regex} for regex in REGEXES] + [{"present": True}, {"absent": True}, {"exact": "a b"}]
    )
    return st.builds(lambda condition: {"name": name, **condition}, text | others)


def some(
    of: Callable[[str], st.SearchStrategy[JsonObject]], names: Sequence[str]
) -> st.SearchStrategy[list[JsonObject]]:
    chosen = st.lists(st.sampled_from(names), max_size=2, unique=True)
    return chosen.flatmap(lambda picked: st.tuples(*map(of, picked))).map(list)


OPERATIONS = st.fixed_dictionaries(
    {
        "method": st.sampled_from(["GET", "GET", "HEAD", "POST", "OPTIONS", "PURGE", "list", "*"]),
        "path": st.sampled_from(list(PATHS)),
        "headers": some(header_matches, ["x-a", "X-B"]),
        "query": some(query_matches, ["p", "q"]),
    }
)
VALUES = ["", "a", "b", "ab", "ba", "A", "aab", "AB"]
REQUESTS = st.builds(
    Request,
    st.sampled_from(["GET", "HEAD", "POST", "OPTIONS", "PURGE", "LIST", "list", "get", "TRACE", "DELETE"]),
    st.sampled_from(["/", "/x", "/y", "/x/z", "/y/z"]),
    st.lists(st.tuples(st.sampled_from(["x-a", "x-b"]), st.sampled_from(VALUES)), max_size=3).map(tuple),
    st.lists(
        st.builds(
            lambda name, value: f"{name}{value}",
            st.sampled_from(["p", "q", "p", "q", "%70", "r"]),
            st.sampled_from(["", *(f"={value}" for value in VALUES), "=%61", "=%41b", "=a+b", "=a%20b", "=a%2Bb"]),
        ),
        max_size=3,
    ).map("&".join),
)


def document(name: str, operations: Sequence[JsonObject], **spec: object) -> JsonObject:
    main = {"url": "http://10.0.0.1"}
    written = {"version": "v1", "context": f"/{name}", "upstream": {"main": main}, "operations": list(operations)}
    return {
        "apiVersion": "gatewright.dev/v1",
        "kind": "Api",
        "metadata": {"name": name},
        "spec": {**written, **spec},
    }


def accepted(operations: Sequence[JsonObject], definitions: Definitions) -> list[JsonObject]:
    """Those of the operations that make a valid API together."""
    kept: list[JsonObject] = []
    for operation in operations:
        with contextlib.suppress(Invalid):
            validate(document("a", [*kept, operation]), definitions, {})
            kept.append(operation)
    return kept


# ---------------------------------------------------------------- the real Envoy


@contextlib.contextmanager
def envoy(apis: Sequence[Api], definitions: Definitions) -> Iterator[Envoy]:
    """An Envoy with the routes of the APIs, of which those that forward answer their name instead."""
    with tempfile.TemporaryDirectory() as place:
        listener, config = Path(place) / "listener", Path(place) / "envoy.json"
        config.write_text(json.dumps(bootstrap(apis, definitions, listener)))
        command = ["envoy", "-c", str(config), "--use-dynamic-base-id", "--concurrency", "1", "-l", "warning"]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        try:
            while not listens(listener):
                assert process.poll() is None, process.stderr.read() if process.stderr else ""
                time.sleep(0.02)
            real = Envoy(listener)
            yield real
            real.connection.close()
        finally:
            process.kill()
            process.communicate()


def listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def bootstrap(apis: Sequence[Api], definitions: Definitions, listener: Path) -> JsonObject:
    routes = {api.spec.context: answering(api, definitions) for api in apis}
    lists = {
        context: {
            "action": {"name": "r", "typed_config": {"@type": f"{TYPE}.config.route.v3.RouteList", "routes": own}}
        }
        for context, own in routes.items()
    }
    path = {"@type": f"{TYPE}.type.matcher.v3.HttpRequestHeaderMatchInput", "header_name": ":path"}
    tree = {"input": {"name": "path", "typed_config": path}, "prefix_match_map": {"map": lists}}
    host = {"name": "all", "domains": ["*"], "matcher": {"matcher_tree": tree}}
    manager = {
        "@type": f"{TYPE}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "test",
        "normalize_path": True,
        "http_protocol_options": {"allow_custom_methods": True},
        "route_config": {"name": "gatewright", "virtual_hosts": [host]},
        "http_filters": [
            {"name": "router", "typed_config": {"@type": f"{TYPE}.extensions.filters.http.router.v3.Router"}}
        ],
    }
    chains = [{"filters": [{"name": "http", "typed_config": manager}]}]
    listeners = [{"address": {"pipe": {"path": str(listener)}}, "filter_chains": chains}]
    layer = {"name": "static", "static_layer": {"re2.max_program_size.error_level": 100000}}
    return {"static_resources": {"listeners": listeners}, "layered_runtime": {"layers": [layer]}}


def answering(api: Api, definitions: Definitions) -> list[JsonObject]:
    shown = []
    for text in translate(api, definitions, EdgeSettings()).message.routes:
        route = route_components_pb2.Route.FromString(text)
        if route.HasField("route"):
            route.ClearField("metadata")
            route.direct_response.status = 200
            route.response_headers_to_add.add().header.key = "x-operation"
            route.response_headers_to_add[0].header.value = route.name.split("|")[1].replace("%", "%%")
        shown.append(json.loads(MessageToJson(route, preserving_proto_field_name=True)))
    return shown


class Envoy:
    """A connection to it, made anew when it has ended."""

    def __init__(self, listener: Path) -> None:
        self.listener = listener
        self.connection = self.connected()

    def connected(self) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("test")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(self.listener))
        return connection

    def outcome(self, context: str, request: Request) -> str:
        path = request.path if request.path != "/" else ""
        self.connection.putrequest(request.method, f"{context}{path}{'?' if request.query else ''}{request.query}")
        for header in request.headers:
            self.connection.putheader(*header)
        self.connection.endheaders()
        answer = self.connection.getresponse()
        answer.read()
        if answer.will_close or self.connection.sock is None:
            self.connection.close()
            self.connection = self.connected()
        return answer.headers["x-operation"] if answer.status == 200 else str(answer.status)


# ---------------------------------------------------------------- the real engine

Find = Callable[[Sequence[Api], Sequence[Request]], dict[str, list[str]]]


@pytest.fixture(scope="module")
def engine_finds(tmp_path_factory: pytest.TempPathFactory, definitions: Definitions) -> Find:
    """By contexts, what the engine makes of the requests where all operations of the APIs have a policy, and so share a
    route: internal/operations/controller_test.go reads the folder."""
    program = compile_checks("operations", tmp_path_factory.mktemp("engine"))

    def find(apis: Sequence[Api], requests: Sequence[Request]) -> dict[str, list[str]]:
        folder = tmp_path_factory.mktemp("operations")
        for api in apis:
            guarded = validate(guard(msgspec.to_builtins(api, order="deterministic")), definitions, {})
            bundle = translate(guarded, definitions, EdgeSettings()).message
            (folder / f"{api.metadata.name}.bundle").write_bytes(bundle.SerializeToString())
            asked = [as_engine_sees(api.spec.context, request) for request in requests]
            (folder / f"{api.metadata.name}.requests.json").write_text(json.dumps(asked))
        command = [str(program), "-test.run", "^TestRequestsOfTheController$"]
        environment = os.environ | {"GATEWRIGHT_OPERATIONS": str(folder)}
        subprocess.run(command, cwd=ENGINE / "internal" / "operations", check=True, timeout=60, env=environment)
        return {
            api.spec.context: [
                str(found["status"]) if found["status"] else found["route"].split("|")[1]
                for found in json.loads((folder / f"{api.metadata.name}.found.json").read_text())
            ]
            for api in apis
        }

    return find


def guard(written: JsonObject) -> JsonObject:
    return written | {"spec": written["spec"] | {"policies": [{"name": "log-message", "version": "v1"}]}}


def as_engine_sees(context: str, request: Request) -> JsonObject:
    path = request.path if request.path != "/" else ""
    return {
        "Method": request.method,
        "Path": f"{context}{path}{'?' if request.query else ''}{request.query}",
        "Scheme": "http",
        "Authority": "test",
        "Headers": [list(header) for header in request.headers],
    }


# ---------------------------------------------------------------- the tests

SETTINGS = settings(
    deadline=None,
    phases=[Phase.explicit, Phase.generate],  # each step of shrinking would start an Envoy
    suppress_health_check=list(HealthCheck),
)


@settings(SETTINGS, max_examples=8)
@given(
    st.lists(st.tuples(st.lists(OPERATIONS, min_size=1, max_size=6), st.booleans()), min_size=4, max_size=8),
    st.lists(REQUESTS, min_size=20, max_size=60),
)
def test_envoy_and_the_engine_route_as_the_reference_page_reads(
    definitions: Definitions,
    engine_finds: Find,
    drawn: list[tuple[list[JsonObject], bool]],
    requests: list[Request],
) -> None:
    apis = [
        validate(document(f"api{index}", accepted(operations, definitions), strictPaths=strict), definitions, {})
        for index, (operations, strict) in enumerate(drawn)
    ]
    found = engine_finds(apis, requests)
    with envoy(apis, definitions) as real:
        for api, (at, request) in itertools.product(apis, enumerate(requests)):
            expected = outcome(api.spec.operations, api.spec.strict_paths, request)
            assert real.outcome(api.spec.context, request) == expected, (request, api.spec)
            assert found[api.spec.context][at] == expected, (request, api.spec)


ONE = header_matches("x-a").map(lambda match: {"headers": [match]}) | query_matches("p").map(
    lambda match: {"query": [match]}
)
BOTH = st.builds(
    lambda header, parameter: {"headers": [header], "query": [parameter]}, header_matches("x-a"), query_matches("p")
)
TWO = st.builds(lambda first, second: {"headers": [first, second]}, header_matches("x-a"), header_matches("x-b"))
CONDITIONS = st.just(dict[str, object]()) | ONE | BOTH | TWO
TEXTS_SENT = ["".join(parts) for length in range(4) for parts in itertools.product("abA", repeat=length)]


def universe(*operations: Operation) -> Iterator[Request]:
    """A request of each kind that the operations' matches tell apart."""
    headers: dict[str, list[HeaderMatch]] = {}
    for match in itertools.chain(*(operation.headers for operation in operations)):
        headers.setdefault(match.name.lower(), []).append(match)
    lines = [
        [(), *(((name, text),) for text in told_apart(matches, header_says, TEXTS_SENT))]
        for name, matches in sorted(headers.items())
    ]
    queries = list(itertools.chain(*(operation.query for operation in operations)))
    asked = ["", *told_apart(queries, query_says, [f"p={text}" for text in [*TEXTS_SENT, "a+b"]])] if queries else [""]
    for header, query in itertools.product(itertools.product(*lines), asked):
        yield Request("GET", "/x", tuple(itertools.chain(*header)), query)


def told_apart(matches: Sequence[Any], says: Callable[[Any, str], bool], texts: Sequence[str]) -> list[str]:
    """One of the texts for each way in which the matches may answer."""
    there = [match for match in matches if match.absent is not True]
    return list({tuple(says(match, text) for match in there): text for text in texts}.values())


def has_regex(condition: JsonObject) -> bool:
    return any("regex" in match for kind in ("headers", "query") for match in condition.get(kind, []))


@settings(SETTINGS, max_examples=12)
@given(st.lists(st.tuples(CONDITIONS, CONDITIONS), min_size=5, max_size=15))
def test_distinct_operations_are_routed_apart_and_others_are_refused_with_both_named(
    definitions: Definitions, pairs: list[tuple[JsonObject, JsonObject]]
) -> None:
    routed: list[tuple[Api, Request, str]] = []
    for index, pair in enumerate(pairs):
        written = document(f"api{index}", [{"method": "GET", "path": "/x", **condition} for condition in pair])
        operations = [
            validate(document("a", [operation]), definitions, {}).spec.operations[0]
            for operation in written["spec"]["operations"]
        ]
        met = {outcome(operations, True, request): request for request in universe(*operations)}
        try:
            api = validate(written, definitions, {})
        except Invalid as invalid:
            (mistake,) = invalid.mistakes
            later = operations[1]
            assert operation_name(later) in str(mistake)
            assert "spec.operations[0]" in str(mistake)
            same = matches_of(operations[0]).covers(matches_of(later)) and matches_of(later).covers(
                matches_of(operations[0])
            )
            assert same or operation_name(operations[0]) in str(mistake)
            assert same or operation_name(later) not in met, (mistake, met)
            continue
        names = [operation_name(operation) for operation in api.spec.operations]
        assert len(set(names)) == 2
        if not any(map(has_regex, pair)):  # of regular expressions it is not known whether one covers another
            assert set(names) <= met.keys(), (names, met)
        routed += [(api, met[name], name) for name in names if name in met]
    apis = list({api.metadata.name: api for api, _, _ in routed}.values())
    if not apis:
        return
    with envoy(apis, definitions) as real:
        for api, request, name in routed:
            assert real.outcome(api.spec.context, request) == name, (request, api.spec)
