"""The larger sample policies, behind a real gateway, in the environment that the builder makes for them."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import httpx
import jwt
import postgresql_server
import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from gatewright.streams import SseParser
from jwt.algorithms import OKPAlgorithm

from e2e.kit import model_events
from e2e.kit.gateway import Gateway, Json, api, attach, eventually, fresh_name, running
from e2e.kit.listening import free_port
from e2e.kit.markdown import blocks, page
from e2e.kit.model_upstream import ModelUpstream
from e2e.kit.places import ROOT
from e2e.kit.upstream import Recorded, Reply, Upstream

pytestmark = pytest.mark.timeout(300)
ISSUER = "https://id.example"
SAMPLES = ROOT / "sample-policies"
PLANS_TOKEN = "token-of-the-plans"  # noqa: S105


def plans(request: Recorded) -> Reply:
    """Answers requests that carry PLANS_TOKEN with the plans."""
    if request.value("authorization") != f"Bearer {PLANS_TOKEN}":
        return Reply(401)
    return Reply(200, [("content-type", "application/json")], b'{"blue": "gold"}')


@pytest.fixture(scope="module")
def plan_service() -> Iterator[Upstream]:
    with Upstream() as service:
        service.reply = plans
        yield service


@pytest.fixture(scope="module")
def database() -> Iterator[postgresql_server.Server]:
    with postgresql_server.server(free_port()) as server:
        yield server


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """sample-policies/build.yaml with sqlite-lookup adapted to a folder of ours, as an author adapts a copy."""
    place = tmp_path_factory.mktemp("manifest")
    folder, copied = place / "plans", place / "sqlite_lookup"
    folder.mkdir()
    shutil.copytree(SAMPLES / "sqlite-lookup", copied)
    for name in ("policy-definition.yaml", "policy.py"):
        text = (copied / name).read_text()
        assert "/etc/gatewright/plans" in text
        (copied / name).write_text(text.replace("/etc/gatewright/plans", str(folder)))
    with sqlite3.connect(folder / "plans.db") as connection:
        connection.execute("CREATE TABLE plans (tenant TEXT PRIMARY KEY, plan TEXT NOT NULL)")
        connection.execute("INSERT INTO plans VALUES ('blue', 'gold')")
    connection.close()
    document = yaml.safe_load((SAMPLES / "build.yaml").read_text())
    for entry in document["policies"]:
        is_adapted = entry["name"] == "sqlite-lookup"
        entry["filePath"] = str(copied if is_adapted else (SAMPLES / entry["filePath"]).resolve())
    file = place / "build.yaml"
    file.write_text(yaml.safe_dump(document))
    return file


@pytest.fixture(scope="module")
def samples(
    manifest: Path, tmp_path_factory: pytest.TempPathFactory, plan_service: Upstream, database: postgresql_server.Server
) -> Iterator[Gateway]:
    """A gateway with all sample policies."""
    output = ROOT / "build" / "samples"
    subprocess.run(["gatewright", "build", "--manifest", str(manifest), "--output", str(output)], check=True)
    secrets = tmp_path_factory.mktemp("secrets")
    (secrets / "plans-token").write_text(f"{PLANS_TOKEN}\n")
    (secrets / "database-password").write_text(postgresql_server.PASSWORD)
    operator = {
        "tenant-plan": {"url": plan_service.url, "token": {"secretRef": "plans-token"}},
        "postgresql-lookup": {
            "host": "127.0.0.1", "port": database.port,
            "database": postgresql_server.DATABASE, "user": postgresql_server.USER,
            "password": {"secretRef": "database-password"},
        },
    }  # fmt: skip
    within = ["env", f"GATEWRIGHT_CONTROLLER_SYSTEM_PARAMETERS={json.dumps(operator)}"]
    state = tmp_path_factory.mktemp("samples")
    with running(output, state, "--secrets", str(secrets), within=within) as gateway:
        yield gateway


# ---------------------------------------------------------------- choose-upstream


def test_the_canary_serves_requests_for_it_and_a_share_of_the_others(samples: Gateway, upstream: Upstream) -> None:
    asks = {"name": "X-Canary", "values": ["1"]}
    with Upstream() as canary:
        for name, percent in (("none", 0), ("all", 100), ("half", 50)):
            params = {"upstream": "canary", "header": asks, "percent": percent}
            document = api(f"canary-{name}", upstream.url, [attach("choose-upstream", params)])
            document["spec"]["upstream"]["canary"] = {"url": canary.url}
            samples.deploy(document)
        for name, headers in (("none", {"x-canary": "1"}), ("all", {})):
            assert httpx.get(f"{samples.url}/canary-{name}/x", headers=headers).status_code == 200
        assert (len(upstream.received), len(canary.received)) == (0, 2)
        assert httpx.get(f"{samples.url}/canary-none/x", headers={"x-canary": "0"}).status_code == 200
        assert (len(upstream.received), len(canary.received)) == (1, 2)
        with httpx.Client() as client:
            for _ in range(200):
                assert client.get(f"{samples.url}/canary-half/x").status_code == 200
        assert len(upstream.received) + len(canary.received) == 203
        assert 60 < len(canary.received) < 145  # 102, and more than five times its deviation


# ---------------------------------------------------------------- tenant-plan


def members(signing_key: Ed25519PrivateKey) -> Json:
    """Lets the tokens pass that this key has signed."""
    jwks = {"keys": [OKPAlgorithm.to_jwk(signing_key.public_key(), as_dict=True)]}
    issuer = {"issuer": ISSUER, "audiences": ["orders"], "algorithms": ["EdDSA"], "jwks": jwks}
    return attach("jwt-auth", {"issuers": [issuer]})


def member_of(tenant: str, signing_key: Ed25519PrivateKey) -> dict[str, str]:
    """The header with the token of a member."""
    claims = {"iss": ISSUER, "aud": "orders", "exp": time.time() + 600, "sub": "ada", "tenant": tenant}
    return {"authorization": "Bearer " + jwt.encode(claims, signing_key, "EdDSA")}


def test_members_of_a_tenant_pass_where_its_plan_is_one_of_the_operations(
    samples: Gateway, upstream: Upstream, plan_service: Upstream
) -> None:
    """All attachments share one client with the operator's token, which setup makes. The counts of tenants are in the
    node's store.
    """
    name, signing_key = fresh_name("tenants"), Ed25519PrivateKey.generate()
    gold, silver = (attach("tenant-plan", {"requestsPerDay": {plan: 2}}) for plan in ("gold", "silver"))
    reports = {"method": "GET", "path": "/{tenant}/reports", "policies": [gold]}
    lists = {"method": "GET", "path": "/{tenant}/lists", "policies": [silver]}
    count = len(plan_service.received)
    samples.deploy(api(name, upstream.url, [members(signing_key)], [reports, lists]))
    blue, green = (member_of(tenant, signing_key) for tenant in ("blue", "green"))
    answers = [
        httpx.get(f"{samples.url}/{name}/{path}", headers=headers).status_code
        for path, headers in (("blue/reports", blue), ("blue/lists", blue), ("blue/reports", green), ("blue/lists", {}))
    ]
    assert answers == [200, 403, 403, 401]
    assert upstream.to("/blue/reports")[-1].value("x-plan") == "gold"
    assert len(plan_service.received) == count + 1
    more = [httpx.get(f"{samples.url}/{name}/blue/reports", headers=blue) for _ in range(5)]
    assert {answer.status_code for answer in more} == {200, 429}  # whether or not midnight is in between
    refused = next(answer for answer in more if answer.status_code == 429)
    assert 1 <= int(refused.headers["retry-after"]) <= 24 * 3600


# ---------------------------------------------------------------- soap-bridge

ANSWER = (
    '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>'
    '<r:R xmlns:r="urn:shop"><r:price>7.5</r:price><r:day>1</r:day><r:day>2</r:day></r:R></s:Body></s:Envelope>'
)
FAULT = ANSWER.replace("r:R", "s:Fault").replace("r:price", "faultcode").replace("r:day", "faultstring")


def test_a_json_call_becomes_a_soap_call_and_its_answer_json(samples: Gateway, upstream: Upstream) -> None:
    bridge = attach(
        "soap-bridge", {"operation": "GetPrice", "namespace": "urn:shop", "soapAction": "urn:shop#GetPrice"}
    )
    samples.deploy(api("prices", upstream.url, [bridge]))
    answers = {"/fault": (500, FAULT), "/down": (503, "<a"), "/html": (200, "<html>")}

    def reply(request: Recorded) -> Reply:
        status, text = answers.get(request.target, (200, ANSWER))
        kind = "text/html" if status == 503 else "text/xml"
        return Reply(status, [("content-type", kind)], text.encode())

    upstream.reply = reply
    url = f"{samples.url}/prices"
    answer = httpx.post(f"{url}/price", json={"name": "A<&ü", "day": [1, 2]})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json() == {"price": "7.5", "day": ["1", "2"]}
    (called,) = upstream.received
    assert (called.value("soapaction"), called.value("content-type")) == (
        '"urn:shop#GetPrice"',
        "text/xml; charset=utf-8",
    )
    assert "<op:name>A&lt;&amp;ü</op:name><op:day>1</op:day><op:day>2</op:day>" in called.body.decode()
    fault = httpx.post(f"{url}/fault", json={})
    assert (fault.status_code, json.loads(fault.content)["detail"]) == (502, "7.5: 1")
    assert httpx.post(f"{url}/html", json={}).status_code == 502
    assert httpx.post(f"{url}/down", json={}).status_code == 503
    assert httpx.post(f"{url}/price", content=b"[1]").status_code == 400
    assert len(upstream.received) == 4


# ---------------------------------------------------------------- mask-pii-stream, count-tokens


def test_a_models_answer_is_masked_and_counted_while_it_streams(samples: Gateway) -> None:
    """The first of the two policies sees the answer last: it counts the bytes that the client receives."""
    policies = [attach("count-tokens", timeout="5s"), attach("mask-pii-stream", {"mask": "***"}, timeout="5s")]
    events = model_events.completion(["Ask ", "ada@", "example", ".org", " now"])
    with ModelUpstream() as model, model.answer_with(events, permits=1):
        samples.deploy(api("said", model.url, policies))
        question = {"messages": [{"role": "user", "content": "Whom?"}]}
        with httpx.stream("POST", f"{samples.url}/said/chat", json=question, timeout=20) as answer:
            body = b""
            for part in answer.iter_bytes():
                body += part
                model.permit()
    chunk_texts = [event.data or "" for event in SseParser().feed(body)]
    assert chunk_texts[-1] == "[DONE]"
    chunks = [json.loads(data) for data in chunk_texts[:-1]]
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks[:-1]) == "Ask *** now"
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == {"prompt_tokens": 2, "completion_tokens": 6, "total_tokens": 8}


# ---------------------------------------------------------------- redact-json-field


def test_fields_are_redacted_in_documents_and_in_lines(samples: Gateway, upstream: Upstream) -> None:
    samples.deploy(api("people", upstream.url, [attach("redact-json-field", {"fields": ["ssn"], "value": "***"})]))
    person = {"name": "Ada", "papers": [{"ssn": "1", "of": "GB"}]}
    lines = json.dumps(person).encode() + b"\n"
    kinds = {"/one": ("application/json", lines), "/all": ("application/x-ndjson", lines * 1000)}

    def reply(request: Recorded) -> Reply:
        kind, body = kinds[request.target]
        return Reply(200, [("content-type", kind)], body)

    upstream.reply = reply
    expected = {"name": "Ada", "papers": [{"ssn": "***", "of": "GB"}]}
    url = f"{samples.url}/people"
    assert httpx.get(f"{url}/one").json() == expected
    assert [json.loads(line) for line in httpx.get(f"{url}/all").text.splitlines()] == [expected] * 1000


# ---------------------------------------------------------------- validate-upload


def test_a_wrong_upload_never_completes_upstream(samples: Gateway, upstream: Upstream) -> None:
    schema = {"type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}}}
    samples.deploy(api("orders", upstream.url, [attach("validate-upload", {"schema": schema})]))
    url, lines = f"{samples.url}/orders/x", {"content-type": "application/x-ndjson"}
    right = b"".join(b'{"id": %d}\n' % number for number in range(20_000))
    assert httpx.post(url, json={"id": 1}).status_code == 200
    assert httpx.post(url, content=right, headers=lines).status_code == 200
    assert [request.body for request in upstream.received] == [b'{"id":1}', right]
    for refused in (
        httpx.post(url, json={"id": "1"}),
        httpx.post(url, content=right + b'{"id": "1"}\n', headers=lines),
    ):
        assert (refused.status_code, "is not of type" in refused.text) == (400, True)
    assert httpx.post(url, content=b"x").status_code == 415
    assert len(upstream.received) == 2


# ---------------------------------------------------------------- decide-on-upload


def test_an_upload_is_decided_on_by_its_first_bytes(samples: Gateway, upstream: Upstream) -> None:
    samples.deploy(api("pictures", upstream.url, [attach("decide-on-upload", {"allow": ["png"]})]))
    picture = b"\x89PNG\r\n\x1a\n" + bytes(300_000)
    url = f"{samples.url}/pictures/x"
    assert httpx.post(url, content=picture).status_code == 200
    refused = httpx.post(url, content=b"PK\x03\x04" + bytes(100), headers={"content-type": "image/png"})
    assert (refused.status_code, refused.text) == (415, "expected a file of png\n")
    (passed,) = upstream.received
    assert passed.body == picture


def test_a_refused_client_is_answered_while_it_still_sends(samples: Gateway, upstream: Upstream) -> None:
    samples.deploy(api("early", upstream.url, [attach("decide-on-upload", {"allow": ["png"]})]))
    with socket.create_connection(("127.0.0.1", samples.port), timeout=20) as client:
        client.sendall(b"POST /early/x HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\nno picture at all")
        assert client.recv(1 << 16).startswith(b"HTTP/1.1 415 ")
    assert upstream.received == []


# ---------------------------------------------------------------- postgresql-lookup, sqlite-lookup


def test_the_page_shows_the_code_of_the_samples() -> None:
    samples = ("postgresql-lookup", "sqlite-lookup")
    for shown, sample in zip(blocks(page("docs/how-to/policy-databases.md"), "python"), samples, strict=True):
        assert shown in (ROOT / "sample-policies" / sample / "policy.py").read_text()


async def plans_of(port: int) -> None:
    """A table with one tenant, to which no request of a client can add another."""
    where = {"host": "127.0.0.1", "port": port, "database": postgresql_server.DATABASE}
    connection = await asyncpg.connect(user=postgresql_server.USER, password=postgresql_server.PASSWORD, **where)
    await connection.execute("CREATE TABLE IF NOT EXISTS plans (tenant text PRIMARY KEY, plan text NOT NULL)")
    await connection.execute("INSERT INTO plans VALUES ('blue', 'gold') ON CONFLICT DO NOTHING")
    await connection.close()


def test_a_plan_is_looked_up_in_postgresql_and_its_absence_is_a_503(
    samples: Gateway, database: postgresql_server.Server, upstream: Upstream
) -> None:
    asyncio.run(plans_of(database.port))
    samples.deploy(api("database", upstream.url, [attach("postgresql-lookup")]))

    def status(tenant: str) -> int:
        answer = httpx.get(f"{samples.url}/database/x", headers={"x-tenant": tenant}, timeout=30)
        assert answer.status_code != 503 or answer.headers["retry-after"] == "5"
        return answer.status_code

    assert status("blue") == 200
    assert upstream.received[-1].value("x-plan") == "gold"
    assert [status(tenant) for tenant in ("green", "' OR '1'='1")] == [403, 403]
    database.stop()
    assert status("blue") == 503
    database.start()
    eventually("it is asked again", lambda: status("blue") == 200)


def test_a_plan_is_looked_up_in_an_sqlite_file(samples: Gateway, upstream: Upstream) -> None:
    samples.deploy(api("file", upstream.url, [attach("sqlite-lookup")]))
    answers = {
        tenant: httpx.get(f"{samples.url}/file/x", headers={"x-tenant": tenant}).status_code
        for tenant in ("blue", "green")
    }
    assert answers == {"blue": 200, "green": 403}
    assert upstream.received[-1].value("x-plan") == "gold"
