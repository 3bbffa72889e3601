"""Routes of operations: the real Envoy and the real engine accept those of any valid API."""

from __future__ import annotations

import re
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from envoy.config.route.v3 import route_components_pb2
from gatewright_controller._gen import node_pb2
from gatewright_controller.model import (
    Answer,
    BackOff,
    Mirror,
    Operation,
    OperationRedirect,
    Retries,
    Rewrite,
    Split,
    Websocket,
)
from gatewright_controller.resource.definitions import Definitions
from gatewright_controller.resource.paths import parse_path
from gatewright_controller.translate import translate
from gatewright_controller.translate.forwarding import CONDITIONS
from gatewright_controller.translate.rewrites import upstream_path
from gatewright_controller.validation import validate
from gatewright_documents.values import JsonObject
from gatewright_documents.yaml_reader import parse_yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from .engine_checks import ENGINE, compile_checks, run
from .test_envoy import SETTINGS, Gateway

GOLDEN = Path(__file__).parent.parent / "testdata" / "golden"
POOLS = ("main", "canary", "green")
PARAMETER = st.sampled_from(["{a}", "{b}"])
LITERAL = st.sampled_from(["x", "a:b", "caf%C3%A9", "v1.0", "%25"])
NAMES = [
    "connectFailure", "refusedStream", "reset", "gatewayError", "serverError",
    "grpcCancelled", "grpcDeadlineExceeded", "grpcInternal", "grpcResourceExhausted", "grpcUnavailable",
]  # fmt: skip
POLICIES = st.lists(st.sampled_from(["log-message", "rewrite-body", "mask-stream"]), max_size=2)


def some_of(**choices: st.SearchStrategy[object]) -> st.SearchStrategy[JsonObject]:
    """An object with any of these fields."""
    return st.fixed_dictionaries({}, optional=choices)


def paths() -> st.SearchStrategy[str]:
    rest = st.lists(LITERAL, max_size=2)
    parts = st.tuples(rest, st.lists(PARAMETER, max_size=2, unique=True), rest, st.sampled_from([[], ["*"]]))
    return parts.map(lambda part: "/" + "/".join([*part[0], *part[1], *part[2], *part[3]]))


def targets(path: str) -> st.SearchStrategy[str]:
    """Paths with parameters of this path."""
    known = re.findall(r"\{\w\}", path)
    some = st.lists(st.sampled_from(known), unique=True) if known else st.just([])
    rest = st.just([]) if not path.endswith("*") else st.sampled_from([[], ["*"]])
    literals = st.lists(LITERAL, max_size=2)
    return st.tuples(literals, some, rest).map(lambda part: "/" + "/".join([*part[0], *part[1], *part[2]]))


TIMES = st.sampled_from(["1ms", "250ms", "3s"])
RETRIES = st.booleans() | some_of(
    conditions=st.lists(st.sampled_from(NAMES) | st.integers(400, 599), min_size=1, max_size=4),
    attempts=st.integers(2, 10),
    perTryTimeout=TIMES,
    backOff=some_of(base=TIMES, max=st.just("3s")),
    methods=st.just(["GET", "POST", "PUT"]),
)
MIRROR = some_of(percent=st.floats(0.0001, 100)).map(lambda mirror: [{"upstream": "shadow", **mirror}])
WEBSOCKET = st.booleans() | some_of(idleTimeout=st.just("1200s"))


@st.composite
def splits(draw: st.DrawFn) -> list[JsonObject]:
    names = draw(st.lists(st.sampled_from(POOLS), min_size=1, unique=True))
    return [{"upstream": name, "weight": draw(st.integers(1, 1_000_000))} for name in names]


@st.composite
def operations(draw: st.DrawFn) -> JsonObject:
    path = draw(paths())
    method = draw(st.sampled_from(["GET", "POST", "PUT", "DELETE", "*"]))
    attached = [{"name": name, "version": "v1", "timeout": "10ms"} for name in draw(POLICIES)]
    made: JsonObject = {"method": method, "path": path, "policies": attached}
    kind = draw(st.sampled_from(["forward", "forward", "forward", "redirect", "answer"]))
    if kind == "redirect":
        somewhere = some_of(scheme=st.sampled_from(["http", "https"]), port=st.integers(1, 65535), path=targets(path))
        return made | {"redirect": {"host": "other.example", "status": 308, **draw(somewhere)}}
    if kind == "answer":
        headers = st.dictionaries(st.sampled_from(["x-a", "content-type"]), st.sampled_from(["a", "100%", "%REQ(x)%"]))
        body = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
        return made | {"answer": draw(some_of(status=st.sampled_from([200, 404, 503]), headers=headers, body=body))}
    rewrite = st.fixed_dictionaries({}, optional={"host": st.just("items.internal:81")}).flatmap(
        lambda host: st.one_of(
            st.just(host),
            targets(path).map(lambda target: host | {"path": target}),
            st.sampled_from(["/", "/v2", "/a:b"]).map(lambda prefix: host | {"prefix": prefix}),
        )
    )
    made |= draw(some_of(mirror=MIRROR, rewrite=rewrite, streamTimeout=TIMES))
    made |= draw(st.just({}) | st.sampled_from(POOLS).map(lambda pool: {"upstream": pool}) | splits().map(split))
    made |= draw(some_of(retries=RETRIES)) if method in ("GET", "PUT") else {}
    return made | (draw(some_of(websocket=WEBSOCKET)) if method == "GET" and set(draw(POLICIES)) == set() else {})


def split(weights: list[JsonObject]) -> JsonObject:
    return {"split": weights}


@st.composite
def apis(draw: st.DrawFn) -> JsonObject:
    own = draw(st.lists(operations(), min_size=5, max_size=15))
    shapes = {(operation["method"], parse_path(operation["path"]).shape): operation for operation in own}
    pools = {name: {"url": f"http://{name}.internal:{8080 + index}/api"} for index, name in enumerate(POOLS)}
    spec = {
        "version": "v1.0",
        "context": draw(st.sampled_from(["/", "/orders/$version"])),
        "upstream": pools | {"shadow": {"url": "http://shadow.internal/api"}},
        "strictPaths": False,
        "policies": [{"name": "log-message", "version": "v1", "timeout": "10ms"}] if draw(st.booleans()) else [],
        "operations": list(shapes.values()),
        **draw(some_of(split=splits(), mirror=MIRROR, retries=RETRIES, streamTimeout=TIMES, websocket=WEBSOCKET)),
        **draw(some_of(rewrite=some_of(prefix=st.just("/v3"), host=st.just("api.internal")))),
    }
    return {"apiVersion": "gatewright.dev/v1", "kind": "Api", "metadata": {"name": "orders"}, "spec": spec}


def without_mistakes(document: JsonObject) -> JsonObject:
    """A WebSocket is a mistake where a policy wants a body, so it is left out there."""
    for operation in document["spec"]["operations"]:
        if any(policy["name"] != "log-message" for policy in operation["policies"]):
            operation.pop("websocket", None)
    return document


EngineAccepts = Callable[[list[node_pb2.ApiBundle]], None]


@pytest.fixture(scope="module")
def engine_accepts(tmp_path_factory: pytest.TempPathFactory) -> EngineAccepts:
    """By the engine's own checks: internal/xds/controller_test.go reads the folder."""
    program = compile_checks("xds", tmp_path_factory.mktemp("engine"))

    def engine_accepts(bundles: list[node_pb2.ApiBundle]) -> None:
        folder = tmp_path_factory.mktemp("bundles")
        for index, bundle in enumerate(bundles):
            (folder / f"{index}.bundle").write_bytes(bundle.SerializeToString())
        command = [str(program), "-test.v", "-test.run", "^TestBundlesOfTheControllerAreAccepted$"]
        output = run(command, ENGINE / "internal" / "xds", GATEWRIGHT_BUNDLES=str(folder))
        assert "--- PASS: TestBundlesOfTheControllerAreAccepted" in output

    return engine_accepts


@pytest.mark.timeout(600)
@pytest.mark.skipif(not shutil.which("go"), reason="the engine's checks are in Go")
def test_envoy_and_the_engine_accept_any_valid_api(definitions: Definitions, engine_accepts: EngineAccepts) -> None:
    """Many at once: both take longer to start than to look at an API."""
    found: list[node_pb2.ApiBundle] = []

    @settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
    @given(document=apis())
    def collect(document: JsonObject) -> None:
        valid = validate(without_mistakes(document), definitions, {})
        found.append(translate(valid, definitions, SETTINGS).message)

    collect()
    engine_accepts(found)
    with tempfile.TemporaryDirectory() as folder:
        for number, bundle in enumerate(found):
            bundle.context = f"/c{number:02}"  # one tree has each context once, and none begins with another
        assert Gateway(Path(folder)).validate(found) == ""


@pytest.mark.timeout(300)
@pytest.mark.skipif(not shutil.which("go"), reason="the engine's checks are in Go")
def test_the_engine_accepts_all_that_we_render(definitions: Definitions, engine_accepts: EngineAccepts) -> None:
    documents = [parse_yaml(path.read_bytes()) for path in sorted(GOLDEN.glob("*.in.yaml"))]
    engine_accepts(
        [translate(validate(document, definitions, {}), definitions, SETTINGS).message for document in documents]
    )


@given(path=paths(), data=st.data())
def test_a_rewrite_puts_in_what_the_parameters_were(path: str, data: st.DataObject) -> None:
    """Compared with a rewrite by the segments of both templates."""
    wanted = data.draw(targets(path))
    values = {name: data.draw(st.sampled_from(["7", "a%20b", "x-y"])) for name in ("{a}", "{b}")}
    rest = data.draw(st.sampled_from(["", "/r", "/r/s"])) if path.endswith("*") else ""
    if path == "/*" and not rest:
        rest = "/"  # no path is shorter, and it is the wildcard's

    def filled(template: str) -> str:
        whole = "".join(f"/{values.get(part, part)}" for part in template[1:].split("/") if part not in ("", "*"))
        return (whole + rest if template.endswith("*") else whole) or "/"

    found = upstream_path("/ctx", "/api", parse_path(path), Rewrite(path=wanted))
    assert found is not None
    pattern, substitution = found
    asked = "/ctx" + filled(path)
    expected = "/api" + filled(wanted)
    made = re.sub(pattern, substitution, asked)
    assert made in (expected, expected.rstrip("/")), (pattern, substitution, asked)


def test_each_pool_of_a_choice_has_one_route(definitions: Definitions) -> None:
    document = parse_yaml((GOLDEN / "choices.in.yaml").read_bytes())
    bundle = translate(validate(document, definitions, {}), definitions, SETTINGS).message
    chosen = [route_components_pb2.Route.FromString(route) for route in bundle.chosen_routes]
    choices = [route.metadata.filter_metadata["gatewright.choice"] for route in chosen]
    assert sorted({choice["upstream"] for choice in choices}) == ["canary", "main"]
    names = {(choice["route"], choice["upstream"]) for choice in choices}
    assert len(names) == len(chosen) == 8  # a WebSocket's idle time too


def test_the_reference_has_every_field_once() -> None:
    """docs/reference/routes.md against the model."""
    text = (ENGINE.parents[1] / "docs" / "reference" / "routes.md").read_text()
    listed = re.findall(r"^\| `([\w.\[\]]+)`", text.partition("## ")[0], re.MULTILINE)
    parts: dict[str, type[msgspec.Struct]] = {
        "split[].": Split, "mirror[].": Mirror, "retries.": Retries, "retries.backOff.": BackOff, "rewrite.": Rewrite,
        "websocket.": Websocket, "redirect.": OperationRedirect, "answer.": Answer,
    }  # fmt: skip
    known = [field.encode_name for field in msgspec.structs.fields(Operation)]
    for prefix, kind in parts.items():
        known += [prefix + field.encode_name for field in msgspec.structs.fields(kind)]
    assert sorted(listed) == sorted(set(known) - {"method", "path", "headers", "query", "policies", "retries.backOff"})
    conditions = re.findall(r"^\| `(\w+)` \| .*\| `([\w-]+)` \|$", text.partition("## ")[2], re.MULTILINE)
    assert dict(conditions) == CONDITIONS


def test_many_operations_take_no_longer_each_than_few(definitions: Definitions) -> None:
    """By this process's CPU time. Four times as many operations once took 11 times as long."""

    def seconds(operations: int) -> float:
        spec = {
            "version": "v1",
            "context": "/many",
            "upstream": {"main": {"url": "http://10.0.0.1"}},
            "operations": [{"method": "GET", "path": f"/o{at}/{{id}}"} for at in range(operations)],
        }
        document = {"apiVersion": "gatewright.dev/v1", "kind": "Api", "metadata": {"name": "many"}, "spec": spec}
        valid = validate(document, definitions, {})
        began = time.process_time()
        translate(valid, definitions, SETTINGS)
        return time.process_time() - began

    few = max(seconds(100), 0.03)
    assert seconds(800) < 8 * 2.5 * few
