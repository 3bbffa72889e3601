"""The pages of the policies that ship: each example of each policy, behind a real gateway."""

from __future__ import annotations

import gzip
import hmac
import json
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from gatewright.streams import SseEvent, SseParser

from e2e.kit import model_events
from e2e.kit.counterparts import Counterparts, counterparts
from e2e.kit.gateway import Gateway, api, attach, eventually, fresh_name, mistakes_of, running
from e2e.kit.model_upstream import ModelUpstream
from e2e.kit.places import ROOT
from e2e.kit.pool_targets import Target
from e2e.kit.upstream import Recorded, Reply, Upstream

POLICIES = ROOT / "policies"
FOLDERS = sorted(path.parent for path in POLICIES.glob("*/policy-definition.yaml"))
EXAMPLES = [
    pytest.param(folder.name, number, example, id=f"{folder.name}: {example['title']}")
    for folder in FOLDERS
    for number, example in enumerate(yaml.safe_load((folder / "example.yaml").read_text()))
]
METHODS = ("GET", "POST", "PUT", "DELETE")


@pytest.fixture(scope="module")
def shipped_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway with all policies that ship."""
    folder = tmp_path_factory.mktemp("shipped")
    manifest = folder / "build.yaml"
    entries = [{"name": folder.name, "filePath": str(folder)} for folder in FOLDERS]
    manifest.write_text(yaml.safe_dump({"version": "v1", "policies": entries}))
    output = ROOT / "build" / "shipped"
    subprocess.run(["gatewright", "build", "--manifest", str(manifest), "--output", str(output)], check=True)
    (audits := folder / "audits").mkdir()
    operator = {"audit-log": {"folder": str(audits)}}
    secrets = secrets_of_examples(folder / "secrets")
    within = ["env", f"GATEWRIGHT_CONTROLLER_SYSTEM_PARAMETERS={json.dumps(operator)}"]
    with running(output, folder / "state", "--secrets", str(secrets), within=within) as gateway:
        yield gateway


def secrets_of_examples(secrets: Path) -> Path:
    secrets.mkdir(mode=0o700)
    for folder in FOLDERS:
        for example in yaml.safe_load((folder / "example.yaml").read_text()):
            for name, value in example.get("secrets", {}).items():
                (secrets / name).touch(mode=0o600)
                (secrets / name).write_text(f"{value}\n")
    return secrets


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Counterparts]:
    with counterparts(tmp_path_factory.mktemp("counterparts")) as started:
        yield started


@pytest.mark.parametrize(("policy", "number", "example"), EXAMPLES)
def test_the_example_behaves_as_documented(
    shipped_gateway: Gateway,
    servers: Counterparts,
    upstream: Upstream,
    policy: str,
    number: int,
    example: dict[str, Any],
) -> None:
    name = fresh_name(f"{policy}-{number}")  # what limits count stays
    example = servers.fill(example)
    paths = example.get("paths", ["/*"])
    operations = [{"method": method, "path": path} for method in METHODS for path in paths]
    shipped_gateway.deploy(api(name, upstream.url, example["attachments"], operations))
    with httpx.Client(base_url=f"{shipped_gateway.url}/{name}") as client:
        for request in example["requests"]:
            upstream.received.clear()
            path, method = request.get("path", "/"), request.get("method", "GET")
            answer = client.request(method, path, headers=request.get("headers"), content=request.get("body"))
            check_answer(answer, request["answer"])
            check_upstream(upstream.received, request.get("upstream", {}))


def check_answer(answer: httpx.Response, expected: dict[str, Any]) -> None:
    assert answer.status_code == expected["status"], answer.text
    for header, value in expected.get("headers", {}).items():
        assert answer.headers.get(header) == value
    if "body" in expected:
        assert answer.text == expected["body"]


def check_upstream(received: list[Recorded], expected: dict[str, Any] | bool) -> None:
    if expected is False:
        assert received == []
        return
    assert isinstance(expected, dict)
    (request,) = received
    for header, value in expected.get("headers", {}).items():
        assert request.value(header) == value
    if "target" in expected:
        assert request.target == expected["target"]
    if "body" in expected:
        assert request.body.decode() == expected["body"]


def test_a_rule_in_cel_that_is_no_condition_is_refused_with_its_place(
    shipped_gateway: Gateway, upstream: Upstream
) -> None:
    """As `when` is, by the same words: conformance/conditions.json has them."""
    table = json.loads((ROOT / "conformance" / "conditions.json").read_text())
    refusals = [case for case in table["refused"] if case["when"]]
    rules = [{"when": case["when"]} for case in refusals]
    errors = mistakes_of(
        shipped_gateway, api("no-rules", upstream.url, [attach("cel-authz", {"deny": rules[:1], "allow": rules})])
    )
    messages = [errors.get(f"spec.policies[0].params.allow[{number}].when", "") for number in range(len(rules))]
    assert [case["when"] for case, words in zip(refusals, messages, strict=True) if case["says"] not in words] == []
    assert refusals[0]["says"] in errors["spec.policies[0].params.deny[0].when"]
    assert len(errors) == len(rules) + 1


def test_hmac_auth_verifies_an_encoded_body_as_it_was_sent(shipped_gateway: Gateway, upstream: Upstream) -> None:
    """The client signs the encoded bytes, and the upstream, which may verify them again, receives these."""
    key, plain = "of the client that compresses", b'{"amount": 7}' * 100
    params = {"style": "github", "keys": [{"name": "github", "secret": key}]}
    shipped_gateway.deploy(
        api("compressed", upstream.url, [attach("hmac-auth", params)], [{"method": "POST", "path": "/*"}])
    )
    sent = gzip.compress(plain)
    statuses = [
        httpx.post(
            f"{shipped_gateway.url}/compressed/x",
            content=sent,
            headers={
                "content-encoding": "gzip",
                "x-hub-signature-256": f"sha256={hmac.new(key.encode(), signed, 'sha256').hexdigest()}",
            },
        ).status_code
        for signed in (sent, plain)
    ]
    assert statuses == [200, 401]
    assert [(request.body, request.value("content-encoding")) for request in upstream.received] == [(sent, "gzip")]


def test_hmac_auth_accepts_a_signature_once(shipped_gateway: Gateway, upstream: Upstream) -> None:
    """Whichever process of the API is asked: the engine's store remembers it."""
    key, body, at = "of the shop that pays", uuid.uuid4().hex, int(time.time())
    params = {"style": "stripe", "replayProtection": True, "keys": [{"name": "shop", "secret": key}]}
    shipped_gateway.deploy(api("once", upstream.url, [attach("hmac-auth", params)]))
    signature = hmac.new(key.encode(), f"{at}.{body}".encode(), "sha256").hexdigest()
    headers = {"stripe-signature": f"t={at},v1={signature}"}
    statuses = [
        httpx.post(f"{shipped_gateway.url}/once/x", content=body, headers=headers).status_code for _ in range(4)
    ]
    assert statuses == [200, 401, 401, 401]
    assert [request.body.decode() for request in upstream.received] == [body]


def test_response_cache_gives_a_stale_answer_for_an_upstream_that_has_gone(shipped_gateway: Gateway) -> None:
    """The client does not get Envoy's own answer then."""
    params = {"where": "store", "staleIfErrorSeconds": 3600}
    url = f"{shipped_gateway.url}/outage/{uuid.uuid4()}"
    with Upstream() as upstream:
        upstream.reply = lambda _: Reply(203, [("cache-control", "max-age=1"), ("x-kept", "1")], b"kept")
        shipped_gateway.deploy(api("outage", upstream.url, [attach("response-cache", params)]))
        assert httpx.get(url).headers["cache-status"] == "gatewright; fwd=uri-miss; stored"

    eventually("the answer is stale", lambda: "hit" not in httpx.get(url).headers["cache-status"])
    answer = httpx.get(url)
    assert (answer.status_code, answer.text, answer.headers["x-kept"]) == (203, "kept", "1")
    assert answer.headers["cache-status"] == "gatewright; fwd=stale; fwd-status=503; detail=stale-if-error"


def test_response_cache_keeps_nothing_of_a_get_with_a_body(shipped_gateway: Gateway, upstream: Upstream) -> None:
    """Over HTTP/2 no header announces the body, and an upstream that reads it answers by it."""
    upstream.reply = lambda request: Reply(200, [("cache-control", "max-age=60")], request.body or b"plain")
    shipped_gateway.deploy(api("fat", upstream.url, [attach("response-cache", {"where": "store"})]))
    url = f"{shipped_gateway.url}/fat/{uuid.uuid4()}"
    with httpx.Client(http1=False, http2=True) as client:
        fat = client.request("GET", url, content=iter([b"poison"]))
        assert (fat.text, fat.headers["cache-status"]) == ("poison", "gatewright; fwd=bypass")
        plain = client.get(url)
        assert (plain.text, plain.headers["cache-status"]) == ("plain", "gatewright; fwd=uri-miss; stored")
        assert client.request("GET", url, content=iter([b"other"])).text == "other"
    assert httpx.get(url).headers["cache-status"].startswith("gatewright; hit")
    assert [request.value("content-length") for request in upstream.received] == [None, None, None]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_each_policy_has_all_of_its_files(folder: Path) -> None:
    """Definition, source, tests, examples; and a description of each of its parameters."""
    names = {path.name for path in folder.iterdir()}
    assert {"policy-definition.yaml", "example.yaml"} < names
    assert {"policy.go", "policy_test.go"} <= names or {"policy.py", "test_policy.py", "requirements.txt"} <= names
    definition = yaml.safe_load((folder / "policy-definition.yaml").read_text())
    properties = definition.get("parameters", {}).get("properties", {})
    assert [name for name, field in properties.items() if not field.get("description")] == []


def test_tokens_of_a_model_are_masked_one_by_one(shipped_gateway: Gateway) -> None:
    """Each is sent when the client has the one before: a gateway that holds one back waits for ever."""
    events = model_events.completion(["Ask ", "ada@exam", "ple.org ", "today!"])
    parser, received = SseParser(), list[SseEvent]()
    with ModelUpstream() as model, model.answer_with(events, permits=1):
        shipped_gateway.deploy(api("masked-tokens", model.url, [attach("pii-mask", timeout="10s")]))
        with httpx.stream("GET", f"{shipped_gateway.url}/masked-tokens/", timeout=30) as answer:
            for chunk in answer.iter_bytes():
                for event in parser.feed(chunk):
                    received.append(event)
                    model.permit()
    documents = [json.loads(event.data) for event in received if event.data not in (None, "[DONE]")]
    deltas = [document["choices"][0]["delta"].get("content", "") for document in documents]
    assert "".join(deltas) == "Ask [masked] today!"
    assert len(received) == len(events)


def test_a_request_is_validated_by_the_operation_that_it_matches(shipped_gateway: Gateway, upstream: Upstream) -> None:
    """The document's path is found by the API's, whatever its context and the names of its parameters."""
    order = {"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}}
    paths = {"/orders/{id}": {"get": {"parameters": [order]}}}
    document = {"openapi": "3.1.0", "info": {"title": "Orders", "version": "1"}, "paths": paths}
    operations = [{"method": method, "path": "/orders/{order}"} for method in ("GET", "PUT")]
    shipped_gateway.deploy(
        api("described", upstream.url, [attach("validate-request", {"openapi": document})], operations)
    )
    with httpx.Client(base_url=f"{shipped_gateway.url}/described") as client:
        statuses = [
            client.get("/orders/7"),
            client.get("/orders/seven"),
            client.put("/orders/7"),
            client.head("/orders/7"),
        ]
    assert [answer.status_code for answer in statuses] == [200, 400, 404, 200]


def test_a_concurrency_slot_is_freed_however_its_request_ends(shipped_gateway: Gateway) -> None:
    """The upstream answers, breaks off, or never answers a client that leaves."""
    name, address = fresh_name("places"), httpx.URL(shipped_gateway.url)
    with Target("held") as target:
        limit = attach("concurrency-limit", {"max": 1, "key": []})
        probe = attach("respond", {"statusCode": 204}, when='"x-probe" in request.headers')
        shipped_gateway.deploy(api(name, target.url, [limit, probe]))

        def probe_status() -> int:
            answer = httpx.get(f"{shipped_gateway.url}/{name}/probe", headers={"x-probe": "1"})
            assert answer.status_code == 204 or answer.headers["retry-after"] == "1", answer
            return answer.status_code

        def hold_request() -> socket.socket:
            target.become("silent")
            before = len(target.seen)
            client = socket.create_connection((address.host, address.port), timeout=60)
            client.sendall(f"GET /{name}/held HTTP/1.1\r\nhost: {address.host}\r\n\r\n".encode())
            eventually("upstream has the request", lambda: len(target.seen) > before, 30)
            assert probe_status() == 503, "its place is taken"
            return client

        with hold_request() as client:
            target.become("fine")
            assert client.recv(12) == b"HTTP/1.1 200"
            assert probe_status() == 204, "it has been answered"
        with hold_request() as client:
            target.become("gone")
            assert client.recv(12) == b"HTTP/1.1 503"
            assert probe_status() == 204, "upstream is gone"
        hold_request().close()
        eventually("the client is gone", lambda: probe_status() == 204, 30)
