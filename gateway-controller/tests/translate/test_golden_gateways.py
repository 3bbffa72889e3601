"""Goldens of Gateways: NAME.in.yaml is a Gateway, NAME.out.yaml what a node is sent that is not usual.

Usual is what the Gateway that says nothing has, and the listener with TLS that says nothing else: `default.out.yaml`,
gateway-runtime/envoy/listener.json and `https.out.yaml`. `--update` rewrites them.
The real Envoy reads what is rendered as a node would send it, byte for byte.
"""

from __future__ import annotations

import functools
import json
import re
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from envoy.config.bootstrap.v3 import bootstrap_pb2
from gatewright_controller._gen import node_pb2
from gatewright_controller.gateway.gateway_file import effective, render
from gatewright_controller.model import LINE_BEGINS
from gatewright_controller.model.gateway import CIPHERS, FIELD_SOURCES
from gatewright_controller.translate.envoy.messages import LISTENER, document_of
from gatewright_documents.values import JsonObject
from gatewright_documents.yaml_reader import parse_yaml
from google.protobuf.json_format import MessageToJson, ParseDict
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from .goldens import check, difference, differences

pytestmark = pytest.mark.timeout(180)
GOLDEN = Path(__file__).parent.parent / "testdata" / "gateways" / "golden"
DEFAULT, HTTPS = GOLDEN / "default.in.yaml", GOLDEN / "https.in.yaml"
INPUTS = sorted(GOLDEN.glob("*.in.yaml"))
HOW_TO = Path(__file__).parents[3] / "docs" / "how-to" / "gateway.md"
SAMPLE = r"^```yaml\n(.*?)^```"
HTTP2 = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


@functools.cache
def rendered(source: Path) -> node_pb2.Gateway:
    return node_pb2.Gateway.FromString(render(effective(parse_yaml(source.read_bytes()), {}, {})))


@functools.cache
def readable(source: Path) -> JsonObject:
    """The message with its listeners, without the digest, which any change changes."""
    shown: JsonObject = json.loads(MessageToJson(rendered(source), preserving_proto_field_name=True))
    del shown["digest"]
    return shown | {"listeners": [document_of(LISTENER, listener) for listener in rendered(source).listeners]}


def golden_of(source: Path) -> Path:
    return source.with_name(source.name.replace(".in.", ".out."))


def test_everything_that_a_gateway_has_by_default(request: pytest.FixtureRequest) -> None:
    """Without its listener, which is in gateway-runtime/envoy: test_listeners.py compares it."""
    made = {key: value for key, value in readable(DEFAULT).items() if key != "listeners"}
    check(made, golden_of(DEFAULT), update=request.config.getoption("--update"))


@pytest.mark.parametrize("source", sorted({*INPUTS} - {DEFAULT}), ids=lambda path: path.name)
def test_golden(source: Path, request: pytest.FixtureRequest) -> None:
    made, usual = readable(source), readable(DEFAULT)
    shown: JsonObject = {
        key: difference(value, usual.get(key)) for key, value in made.items() if value != usual.get(key)
    }
    if "listeners" in shown:
        https = [] if source == HTTPS else readable(HTTPS)["listeners"]
        shown["listeners"] = differences(made["listeners"], usual["listeners"] + https)
    check(shown, golden_of(source), update=request.config.getoption("--update"))


def test_each_golden_has_an_input(request: pytest.FixtureRequest) -> None:
    """`--update` removes the others."""
    stale = set(GOLDEN.glob("*.out.yaml")) - {golden_of(source) for source in INPUTS}
    if request.config.getoption("--update"):
        for golden in stale:
            golden.unlink()
    else:
        assert not stale


def test_a_route_without_policies_meets_no_filter_but_the_router() -> None:
    """Each filter costs time for every request: docs/decisions/0046-what-stands-before-the-router.md."""
    (chain,) = document_of(LISTENER, rendered(DEFAULT).listeners[0])["filter_chains"]
    *_, manager = chain["filters"]
    filters = manager["typed_config"]["http_filters"]
    assert [http_filter["name"] for http_filter in filters if not http_filter.get("disabled")] == [
        "envoy.filters.http.router"
    ]


def cluster(name: str) -> JsonObject:
    options = {"@type": f"type.googleapis.com/{HTTP2}", "explicit_http_config": {"http2_protocol_options": {}}}
    return {"name": name, "type": "STATIC", "typed_extension_protocol_options": {HTTP2: options}}


LARGE_PATTERNS = {"re2.max_program_size.error_level": 100_000}
"""As in the bootstrap of a node."""
CLUSTERS = ("xds", "policy_engine", "challenges")


def envoys_opinion(listeners: Iterable[bytes], folder: Path) -> str:
    """What `envoy --mode validate` has to say against the listeners; empty if nothing. One bootstrap holds them all,
    so each has another name and port there."""
    stream = {"envoy_grpc": {"cluster_name": "gatewright_xds"}}
    base = {
        "node": {"id": "test", "cluster": "test"},
        "dynamic_resources": {"ads_config": {"api_type": "DELTA_GRPC", "grpc_services": [stream]}},
        "layered_runtime": {
            "layers": [{"name": "static", "static_layer": {"re2.max_program_size.error_level": 100_000}}]
        },
        "static_resources": {"clusters": [cluster(f"gatewright_{name}") for name in CLUSTERS]},
    }
    bootstrap = ParseDict(base, bootstrap_pb2.Bootstrap())
    for at, listener in enumerate(listeners):
        added = bootstrap.static_resources.listeners.add()
        added.MergeFromString(listener)
        added.name = f"{added.name}-{at}"
        added.address.socket_address.port_value = 20_000 + at
    file = folder / "envoy.pb"
    file.write_bytes(bootstrap.SerializeToString())
    command = ["envoy", "-c", str(file), "--use-dynamic-base-id", "--concurrency", "1", "-l", "error"]
    done = subprocess.run([*command, "--mode", "validate"], capture_output=True, text=True, timeout=60, check=False)
    return done.stdout + done.stderr if done.returncode else ""


def test_envoy_accepts_all_that_we_render(tmp_path: Path) -> None:
    texts = [source.read_bytes() for source in INPUTS]
    texts += [sample.encode() for sample in re.findall(SAMPLE, HOW_TO.read_text(), re.MULTILINE | re.DOTALL)]
    assert len(texts) >= 13
    made = [node_pb2.Gateway.FromString(render(effective(parse_yaml(text), {}, {}))) for text in texts]
    assert envoys_opinion([listener for gateway in made for listener in gateway.listeners], tmp_path) == ""


def test_what_envoy_refuses_is_reported(tmp_path: Path) -> None:
    """The check of the test above can fail, for a field deep inside a listener too."""
    listener = rendered(GOLDEN / "default.in.yaml").listeners[0]
    worse = listener.replace(b"response.code == 400", b"response.code == 4(0")
    assert "4(0" in envoys_opinion([worse], tmp_path)


HOST_NAMES = ["a.example", "*.a.example", "b-c.example", "*.example", "x"]
HOSTS = st.lists(st.sampled_from(HOST_NAMES), unique=True, max_size=3)
TIMES = st.one_of(st.integers(1, 9_999_999).map("{}ms".format), st.integers(1, 9_999_999).map("{}s".format))


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[JsonObject]:
    """An object with any of these fields."""
    return st.fixed_dictionaries({}, optional=fields)


CLIENT_CERTIFICATES = st.fixed_dictionaries(
    {"authority": st.just("partners")}, optional={"mode": st.sampled_from(["require", "request"])}
)
TLS = st.fixed_dictionaries(
    {"certificates": st.lists(st.sampled_from(["main", "other"]), min_size=1, unique=True)},
    optional={
        "minVersion": st.sampled_from(["1.2", "1.3"]),
        "ciphers": st.lists(st.sampled_from(CIPHERS), min_size=1, unique=True),
        "sessionResumption": st.booleans(),
        "clientCertificates": CLIENT_CERTIFICATES,
    },
)
COMPRESSION = some(
    encodings=st.lists(st.sampled_from(["br", "gzip", "zstd"]), min_size=1, unique=True),
    minBytes=st.integers(30, 1 << 30),
    contentTypes=st.lists(st.from_regex(r"[a-z0-9.+-]+/[a-z0-9.+-]+", fullmatch=True), min_size=1, max_size=3),
)
REDIRECT = some(port=st.integers(1, 65535), status=st.sampled_from([301, 302, 307, 308]))
LISTENER_LIMITS = some(connections=st.integers(1, 10_000_000), connectionsPerSecond=st.integers(1, 1_000_000))
ADDRESSES = st.one_of(st.ip_addresses(v=4).map(str), st.ip_addresses(v=6).map(str))


@st.composite
def listeners(draw: st.DrawFn, *, proxies: bool) -> JsonObject:
    made = draw(some(address=ADDRESSES, hosts=HOSTS, limits=LISTENER_LIMITS))
    kind = draw(st.sampled_from(["plain", "redirect", "tls"]))
    if kind == "redirect":
        made["redirect"] = draw(REDIRECT)
    elif kind == "tls":
        asking = st.dictionaries(st.sampled_from(made.get("hosts") or HOST_NAMES), CLIENT_CERTIFICATES, max_size=3)
        tls = draw(TLS) | {"clientCertificatesByHost": draw(asking)}
        made |= {"protocol": "https", "tls": tls}
    if kind != "redirect" and draw(st.booleans()):
        made["compression"] = draw(COMPRESSION)
    if proxies and draw(st.booleans()):
        made["proxyProtocol"] = True
    return made


WIDE = ["0.0.0.0/0", "::/0", "10.0.0.0/8", "2001:db8::/33"]
NETWORKS = st.lists(st.one_of(ADDRESSES, st.sampled_from(WIDE)), min_size=1, max_size=4, unique=True)
LIMITS = some(
    headerCount=st.integers(10, 256),
    headerBytes=st.integers(8, 256).map(lambda kib: kib * 1024),
    concurrentStreams=st.integers(1, 10_000),
    requestsPerSecond=st.integers(1, 1_000_000),
    requestsPerConnection=st.integers(1, 1_000_000_000),
)
TIMEOUTS = some(
    handshake=TIMES, requestHeaders=TIMES, connectionIdle=TIMES, streamIdle=TIMES, connectionMaximum=TIMES, drain=TIMES
)
SOURCES = st.one_of(
    st.sampled_from(FIELD_SOURCES),
    st.from_regex(r"(request|response)Header:[A-Za-z0-9-]{1,20}", fullmatch=True),
)
FIELD_NAME = r"[A-Za-z_][A-Za-z0-9_.-]{0,20}"
FIELD_NAMES = st.from_regex(FIELD_NAME, fullmatch=True).filter(lambda name: name not in LINE_BEGINS)
DESTINATIONS = st.lists(
    st.sampled_from(
        [
            {},
            {"to": "file", "path": "/dev/null"},
            {"to": "file", "path": "/dev/stderr", "format": "text"},
            {"to": "otlp", "collector": "a.example:4317"},
            {"to": "otlp", "collector": "[::1]:4317"},
        ]
    ),
    min_size=1,
    unique_by=str,
)
ACCESS_LOG = some(
    enabled=st.booleans(),
    sample=st.floats(0, 1),
    fields=st.dictionaries(FIELD_NAMES, SOURCES, min_size=1, max_size=5),
    destinations=DESTINATIONS,
)


@st.composite
def gateways(draw: st.DrawFn) -> JsonObject:
    spec = draw(some(limits=LIMITS, timeouts=TIMEOUTS, accessLog=ACCESS_LOG))
    proxies: JsonObject = draw(st.sampled_from([{}, {"hops": 3}, {"networks": draw(NETWORKS)}]))
    found = draw(st.lists(listeners(proxies="networks" in proxies), min_size=1, max_size=4))
    files = {"certificateFile": "/a.pem", "keyFile": "/a.key"}
    return {
        "apiVersion": "gatewright.dev/v1",
        "kind": "Gateway",
        "spec": {
            **spec,
            "trustedProxies": proxies,
            "underscoredHeaders": draw(st.sampled_from(["refuse", "drop", "allow"])),
            "listeners": [{"name": f"l{at}", "port": 1000 + at, **listener} for at, listener in enumerate(found)],
            "certificates": {"main": files, "other": files},
            "authorities": {"partners": {"file": "/b.pem"}},
        },
    }


@given(documents=st.lists(gateways(), min_size=10, max_size=20))
@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
def test_envoy_accepts_whatever_is_valid(documents: list[JsonObject]) -> None:
    """Many Gateways for each Envoy: it takes longer to start than to read them."""
    made = [node_pb2.Gateway.FromString(render(effective(document, {}, {}))) for document in documents]
    # Shrinking would start Envoy again and again; it says itself what it does not like.
    with tempfile.TemporaryDirectory() as folder:
        assert envoys_opinion([listener for gateway in made for listener in gateway.listeners], Path(folder)) == ""
