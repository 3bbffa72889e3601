"""Clusters of pools: which pools share one, and that the real Envoy accepts any valid pool."""

from __future__ import annotations

import copy
import json
import subprocess
import tempfile
from pathlib import Path

import pytest
from envoy.config.cluster.v3 import cluster_pb2
from envoy.extensions.load_balancing_policies.ring_hash.v3 import ring_hash_pb2  # noqa: F401 - Any needs it to be known
from gatewright_controller.resource.definitions import Definitions
from gatewright_controller.resource.private_upstreams import PrivateUpstreams
from gatewright_controller.translate import EdgeSettings, translate
from gatewright_controller.validation import validate
from gatewright_documents.values import JsonObject
from google.protobuf.json_format import MessageToJson
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

SETTINGS = EdgeSettings(trusted_ca=str(Path(__file__).parent.parent / "testdata" / "ca.pem"))
ALLOWED = PrivateUpstreams.of([], ["unix:/run/orders/"])


def clusters(document: JsonObject, definitions: Definitions) -> list[cluster_pb2.Cluster]:
    made = translate(validate(document, definitions, {}, ALLOWED), definitions, SETTINGS).message
    return [cluster_pb2.Cluster.FromString(cluster) for cluster in made.clusters]


def named(name: str, orders: JsonObject, **upstream: JsonObject) -> JsonObject:
    document = copy.deepcopy(orders)
    document["metadata"]["name"] = name
    document["spec"]["upstream"] = upstream or orders["spec"]["upstream"]
    return document


def test_apis_with_the_same_pool_share_a_cluster_whatever_their_base_paths(
    orders: JsonObject, definitions: Definitions
) -> None:
    paths = ("", "/api", "/other")
    made = [
        clusters(named(f"api-{index}", orders, main={"url": f"http://orders.internal:8080{path}"}), definitions)
        for index, path in enumerate(paths)
    ]
    assert made[0] == made[1] == made[2]
    assert made[0][0].name.startswith("orders-internal-8080|")


@pytest.mark.parametrize("change", [
    {"url": "http://orders.internal:8081"}, {"url": "https://orders.internal:8080"}, {"protocol": "http2"},
    {"connectTimeout": "1s"}, {"healthCheck": {"tcp": {}}}, {"ejection": {"consecutiveGatewayErrors": 6}},
    {"dns": {"refresh": "6s"}}, {"loadBalancing": {"algorithm": "random"}}, {"proxyProtocol": "v1"},
    {"circuitBreaker": {"maxRequests": 6}},
])  # fmt: skip
def test_a_pool_with_another_content_has_another_name(
    change: JsonObject, orders: JsonObject, definitions: Definitions
) -> None:
    main = {"url": "http://orders.internal:8080"}
    (before,), (after,) = (clusters(named("a", orders, main=pool), definitions) for pool in (main, main | change))
    assert before.name != after.name


def test_a_host_alone_makes_no_other_cluster_unless_a_check_says_it(
    orders: JsonObject, definitions: Definitions
) -> None:
    main: JsonObject = {"url": "http://orders.internal:8080"}
    checked = main | {"healthCheck": {"http": {"path": "/"}}}
    for pool, same in ((main, True), (checked, False)):
        (before,), (after,) = (
            clusters(named("a", orders, main=content), definitions) for content in (pool, pool | {"host": "other"})
        )
        assert (before.name == after.name) is same


def test_pools_that_nothing_can_choose_have_no_cluster(orders: JsonObject, definitions: Definitions) -> None:
    document = named("a", orders, main={"url": "http://10.0.0.1"}, canary={"url": "http://10.0.0.2"})
    assert len(clusters(document, definitions)) == 2
    document["spec"]["policies"] = []
    for operation in document["spec"]["operations"]:
        operation.pop("policies", None)
    assert [cluster.name.partition("|")[0] for cluster in clusters(document, definitions)] == ["10-0-0-1"]


def test_targets_that_are_verified_by_their_own_names_have_sockets_of_their_own(
    orders: JsonObject, definitions: Definitions
) -> None:
    targets = [{"url": "https://a.internal"}, {"url": "https://b.internal"}, {"url": "https://a.internal:444"}]
    (made,) = clusters(named("a", orders, main={"targets": targets, "host": "x"}), definitions)
    assert [match.name for match in made.transport_socket_matches] == ["a.internal", "b.internal"]
    one_name = {"targets": targets, "host": "x", "tls": {"serverName": "orders"}}
    (made,) = clusters(named("a", orders, main=one_name), definitions)
    assert not made.transport_socket_matches


times = st.sampled_from(["100ms", "1s", "300s"])
counts = st.integers(1, 1_000_000)


def optional(**fields: st.SearchStrategy[object]) -> st.SearchStrategy[JsonObject]:
    """An object with any of these keys."""
    return st.fixed_dictionaries({}, optional=fields)


hash_on = st.one_of(
    st.fixed_dictionaries({"header": st.sampled_from(["x-user", ":path", "host"][:1])}),
    st.fixed_dictionaries({"cookie": st.just("session")}, optional={"cookieTtl": times}),
    st.just({"clientAddress": True}),
)
balancing = st.one_of(
    st.fixed_dictionaries({"algorithm": st.sampled_from(["leastRequest", "roundRobin", "random"])}),
    st.fixed_dictionaries({"algorithm": st.just("ringHash"), "hashOn": hash_on}),
)
http_check = st.fixed_dictionaries({"path": st.sampled_from(["/", "/health?a=b"])}, optional={
    "expectedStatuses": st.lists(st.sampled_from(["200", "200-299", "100-599"]), min_size=1, max_size=3),
    "host": st.sampled_from(["check.example", "check.example:81"]),
})  # fmt: skip
dns = {"refresh": times, "respectTtl": st.booleans()}
dns["family"] = st.sampled_from(["auto", "ipv4", "ipv6", "preferIpv4", "all"])
limits = optional(maxConnections=counts, maxPendingRequests=counts, maxRequests=counts, maxRetries=counts)
failures = st.integers(0, 1000)
ejection = optional(
    consecutiveGatewayErrors=failures, consecutive5xx=failures,
    baseTime=st.sampled_from(["1ms", "30s", "9999999s"]), maxPercent=st.integers(1, 100),
)  # fmt: skip
keepalive = optional(time=st.sampled_from(["1s", "7200s"]), interval=st.just("2s"), probes=st.integers(1, 100))
tls = optional(
    serverName=st.just("orders.example"), authority=st.just("internal"), clientCertificate=st.just("gateway"),
    minVersion=st.sampled_from(["1.2", "1.3"]),
)  # fmt: skip
HOSTS = ("10.0.0.1", "[2001:db8::1]", "orders.internal", "b.internal:8443", "127.0.0.1:9000")


@st.composite
def pools(draw: st.DrawFn) -> JsonObject:
    scheme = draw(st.sampled_from(["http", "https", "grpc", "grpcs", "unix"]))
    places = ["/run/orders/a.sock", "/run/orders/b.sock"] if scheme == "unix" else [f"//{host}" for host in HOSTS]
    chosen = draw(st.lists(st.sampled_from(places), min_size=1, unique=True))
    base = "" if scheme == "unix" else draw(st.sampled_from(["", "/api"]))
    targets = [
        draw(st.fixed_dictionaries({"url": st.just(f"{scheme}:{place}{base}")}, optional={
            "weight": st.integers(1, 1000), "zone": st.sampled_from(["a", "b"]),
        }))
        for place in chosen
    ]  # fmt: skip
    grpc = scheme in ("grpc", "grpcs")
    protocols = ["http2"] if grpc else ["http1", "http2", "auto"]
    pool: JsonObject = draw(optional(
        protocol=st.sampled_from(protocols), loadBalancing=balancing, ejection=ejection, circuitBreaker=limits,
        connectTimeout=times, idleTimeout=times, maxRequestsPerConnection=counts, maxConnectionAge=times,
        tcpKeepalive=keepalive, proxyProtocol=st.sampled_from(["v1", "v2"]),
    ))  # fmt: skip
    checks: list[st.SearchStrategy[JsonObject]] = [st.fixed_dictionaries({"http": http_check}), st.just({"tcp": {}})]
    if pool.get("protocol", "http2" if grpc else "http1") == "http2":
        checks.append(st.fixed_dictionaries({"grpc": optional(service=st.just("orders.Orders"))}))
    if draw(st.booleans()):
        rest = optional(interval=times, timeout=times, unhealthyThreshold=st.integers(1, 100))
        pool["healthCheck"] = {**draw(st.one_of(checks)), **draw(rest)}
    if scheme in ("https", "grpcs"):
        pool["tls"] = draw(tls)
    discovery = st.sampled_from(["strict", "logical"] if len(targets) == 1 else ["strict"])
    pool["dns"] = draw(optional(discovery=discovery, **dns))
    if pool.get("loadBalancing") == {"algorithm": "random"}:
        for target in targets:
            target.pop("weight", None)
    if scheme == "https" and pool.get("protocol") == "auto":
        pool.pop("proxyProtocol", None)
    return pool | {"targets": targets, "host": "orders.example"}


# With `ads`, Envoy's mode of validation ends in a segmentation fault: secrets come by a stream of their own.
STREAM = '"api_config_source": {"api_type": "DELTA_GRPC", "transport_api_version": "V3", "grpc_services": [%s]}'
SERVICE = '{"envoy_grpc": {"cluster_name": "engine"}}'
ENGINE = {"name": "engine", "type": "STATIC", "load_assignment": {"cluster_name": "engine"}}


def complaint(made: list[cluster_pb2.Cluster]) -> str:
    """What `envoy --mode validate` has to say against the clusters; empty if nothing."""
    plain = [json.loads(MessageToJson(cluster, preserving_proto_field_name=True)) for cluster in made]
    unique = [*{cluster["name"]: cluster for cluster in plain}.values(), ENGINE]
    document = {"node": {"id": "test", "cluster": "test"}, "static_resources": {"clusters": unique}}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "envoy.json"
        file.write_text(json.dumps(document).replace('"ads": {}', STREAM % SERVICE))
        command = ["envoy", "-c", str(file), "--use-dynamic-base-id", "-l", "error", "--mode", "validate"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout + done.stderr if done.returncode else ""


# Shrinking would start Envoy again and again; it says itself what it does not like.
@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
@given(many=st.lists(pools(), min_size=20, max_size=40))
def test_envoy_accepts_any_valid_pool(many: list[JsonObject], orders: JsonObject, definitions: Definitions) -> None:
    """Many at once: an Envoy takes longer to start than to look at a pool."""
    upstreams = {f"p{index}": pool for index, pool in enumerate(many)} | {"main": many[0]}
    assert complaint(clusters(named("a", orders, **upstreams), definitions)) == ""


def test_what_envoy_refuses_is_reported(orders: JsonObject, definitions: Definitions) -> None:
    """The check of the test above can fail."""
    (made,) = clusters(named("a", orders, main={"url": "https://10.0.0.1"}), definitions)
    made.load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address.address = "300.0.0.1"
    assert "300.0.0.1" in complaint([made])
