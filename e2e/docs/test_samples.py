"""The larger sample policies, behind a real gateway, in the environment that the builder makes for them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from gatewright.streams import SseParser
from jwt.algorithms import RSAAlgorithm

from e2e.kit import model_events
from e2e.kit.gateway import Gateway, Json, api, attach, eventually, fresh, running
from e2e.kit.model_upstream import ModelUpstream
from e2e.kit.places import ROOT
from e2e.kit.upstream import Recorded, Reply, Upstream

pytestmark = pytest.mark.timeout(300)
SECRET = "the secret of this test"  # noqa: S105
PLANS_TOKEN = "token-of-the-plans"  # noqa: S105


class IdentityProvider(Upstream):
    """Publishes its keys below /jwks, says below /introspect whether a token is "good", and below /plans, to who has
    PLANS_TOKEN, which plans there are. It can be away.
    """

    def __init__(self) -> None:
        super().__init__()
        self.keys = {"one": rsa.generate_private_key(public_exponent=65537, key_size=2048)}
        self.away = False
        self.reply = self._say

    def _say(self, request: Recorded) -> Reply:
        if self.away:
            return Reply(503)
        if request.target == "/plans":
            if request.value("authorization") != f"Bearer {PLANS_TOKEN}":
                return Reply(401)
            answer: Json = {"blue": "gold"}
        elif request.target == "/introspect":
            known = request.value("authorization") == "Basic " + base64.b64encode(b"gateway:its+secret").decode()
            active = known and parse_qs(request.body.decode())["token"] == ["good"]
            answer = {"active": active, "scope": "read"}
        else:
            jwks = {kid: RSAAlgorithm.to_jwk(key.public_key(), as_dict=True) for kid, key in self.keys.items()}
            answer = {"keys": [{**jwk, "kid": kid, "use": "sig"} for kid, jwk in jwks.items()]}
        return Reply(200, [("content-type", "application/json")], json.dumps(answer).encode())

    @contextmanager
    def gone(self) -> Iterator[None]:
        """It answers 503 to everything."""
        self.away = True
        try:
            yield
        finally:
            self.away = False

    def token(self, kid: str, **claims: object) -> dict[str, str]:
        """The header with a token that the key has signed."""
        wanted = {"iss": "https://id.example", "aud": "orders", "exp": time.time() + 60, "sub": "ada"} | claims
        return {"authorization": "Bearer " + jwt.encode(wanted, self.keys[kid], "RS256", {"kid": kid})}


@pytest.fixture(scope="module")
def provider() -> Iterator[IdentityProvider]:
    made = IdentityProvider()
    with made:
        yield made


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory, provider: IdentityProvider) -> Iterator[Gateway]:
    """A gateway with all of sample-policies/build.yaml."""
    output = ROOT / "build" / "samples"
    manifest = ROOT / "sample-policies" / "build.yaml"
    subprocess.run(["gatewright", "build", "--manifest", str(manifest), "--output", str(output)], check=True)
    introspection = {"url": f"{provider.url}/introspect", "clientId": "gateway", "clientSecret": "its secret"}
    plans = {"url": f"{provider.url}/plans", "token": {"secretRef": "plans-token"}}
    secrets = tmp_path_factory.mktemp("secrets")
    (secrets / "plans-token").write_text(f"{PLANS_TOKEN}\n")
    with pytest.MonkeyPatch.context() as patch:
        operator = {"introspect-token": introspection, "tenant-plan": plans}
        patch.setenv("GATEWRIGHT_CONTROLLER_SYSTEM_PARAMETERS", json.dumps(operator))
        with running(output, tmp_path_factory.mktemp("samples"), "--secrets", str(secrets)) as gateway:
            yield gateway


# ---------------------------------------------------------------- choose-upstream


def test_who_asks_for_the_canary_gets_it_and_a_share_of_the_others(samples: Gateway, upstream: Upstream) -> None:
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


# ---------------------------------------------------------------- verify-hmac


def test_only_what_is_signed_reaches_upstream(samples: Gateway, upstream: Upstream) -> None:
    samples.deploy(api("signed", upstream.url, [attach("verify-hmac", {"secrets": [SECRET]})]))
    body, at = b'{"amount": 7, "note": "\xff\x00"}', str(int(time.time()))
    signature = hmac.new(SECRET.encode(), at.encode() + b"." + body, hashlib.sha256).hexdigest()
    headers = {"x-signature": signature, "x-signature-timestamp": at}
    url = f"{samples.url}/signed/orders"
    assert httpx.post(url, content=body, headers=headers).status_code == 200
    for refused in (
        httpx.post(url, content=body + b" ", headers=headers),
        httpx.post(url, content=body, headers=headers | {"x-signature-timestamp": str(int(at) - 1)}),
        httpx.post(url, content=body),
        httpx.get(url),
    ):
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"] == "HMAC-SHA256"
    (passed,) = upstream.received
    assert passed.body == body


# ---------------------------------------------------------------- verify-jwt


def jwt_params(provider: IdentityProvider, path: str = "/jwks") -> Json:
    return {"jwksUri": provider.url + path, "issuer": "https://id.example", "audience": "orders", "refreshSeconds": 1}


def test_a_token_of_the_issuer_passes_also_by_a_key_that_is_new(
    samples: Gateway, upstream: Upstream, provider: IdentityProvider
) -> None:
    samples.deploy(api("tokens", upstream.url, [attach("verify-jwt", jwt_params(provider))]))

    def ask(headers: dict[str, str]) -> int:
        return httpx.get(f"{samples.url}/tokens/x", headers=headers).status_code

    assert [ask(provider.token("one")), ask(provider.token("one", aud="others")), ask({})] == [200, 401, 401]
    first = provider.token("one")
    provider.keys = {"two": rsa.generate_private_key(public_exponent=65537, key_size=2048)}
    eventually("the new key is known", lambda: ask(provider.token("two")) == 200)
    eventually("the old one is not any more", lambda: ask(first) == 401)
    with provider.gone():
        asked = len(provider.received)
        eventually("the keys were asked for in vain", lambda: len(provider.received) > asked)
        assert ask(provider.token("two")) == 200


def test_members_of_a_tenant_pass_where_its_plan_is_one_of_the_operations(
    samples: Gateway, upstream: Upstream, provider: IdentityProvider
) -> None:
    """One client asks for the plans with the operator's token, however many attachments there are: setup makes it. What
    a tenant has asked is in the node's store.
    """
    name = fresh("tenants")
    gold, silver = (attach("tenant-plan", {"requestsPerDay": {plan: 2}}) for plan in ("gold", "silver"))
    reports = {"method": "GET", "path": "/{tenant}/reports", "policies": [gold]}
    lists = {"method": "GET", "path": "/{tenant}/lists", "policies": [silver]}
    policies = [attach("verify-jwt", jwt_params(provider))]
    asked = sum(request.target == "/plans" for request in provider.received)
    samples.deploy(api(name, upstream.url, policies, [reports, lists]))
    blue, green = (provider.token(next(iter(provider.keys)), tenant=tenant) for tenant in ("blue", "green"))
    answers = [
        httpx.get(f"{samples.url}/{name}/{path}", headers=headers).status_code
        for path, headers in (("blue/reports", blue), ("blue/lists", blue), ("blue/reports", green), ("blue/lists", {}))
    ]
    assert answers == [200, 403, 403, 401]
    assert upstream.to("/blue/reports")[-1].value("x-plan") == "gold"
    assert sum(request.target == "/plans" for request in provider.received) == asked + 1
    more = [httpx.get(f"{samples.url}/{name}/blue/reports", headers=blue) for _ in range(5)]
    assert {answer.status_code for answer in more} == {200, 429}  # whether or not midnight is in between
    refused = next(answer for answer in more if answer.status_code == 429)
    assert 1 <= int(refused.headers["retry-after"]) <= 24 * 3600


def test_an_api_whose_issuer_is_away_is_pending_and_heals(
    samples: Gateway, upstream: Upstream, provider: IdentityProvider
) -> None:
    with samples.controller() as client:

        def status() -> Json:
            found: Json = client.get("/v1/apis/healing/status").json()
            return found

        with provider.gone():
            definition = api("healing", upstream.url, [attach("verify-jwt", jwt_params(provider))])
            assert client.post("/v1/apis", json=definition).status_code == 201
            eventually("it says why it is not served", lambda: "503" in status()["reason"], 20)
            assert status()["state"] == "pending"
            refused = httpx.get(f"{samples.url}/healing/x")
            assert (refused.status_code, refused.headers["content-type"]) == (503, "application/problem+json")
        eventually("it is deployed by itself", lambda: status()["state"] == "deployed", 40)
    token = provider.token(next(iter(provider.keys)))
    assert httpx.get(f"{samples.url}/healing/x", headers=token).status_code == 200


# ---------------------------------------------------------------- introspect-token


def test_the_authorization_server_is_asked_and_believed_for_a_while(
    samples: Gateway, upstream: Upstream, provider: IdentityProvider
) -> None:
    for name, scope in (("reading", "read"), ("writing", "write")):
        samples.deploy(api(name, upstream.url, [attach("introspect-token", {"scopes": [scope]})]))

    def ask(path: str, token: str) -> int:
        headers = {"authorization": f"Bearer {token}"}
        return httpx.get(f"{samples.url}{path}", headers=headers).status_code

    assert [ask("/reading/x", "good"), ask("/reading/x", "bad"), ask("/writing/x", "good")] == [200, 401, 403]
    asked = len(provider.to("/introspect"))
    with provider.gone():
        assert [ask("/reading/x", "good"), ask("/reading/x", "bad"), ask("/reading/x", "other")] == [200, 401, 503]
    assert len(provider.to("/introspect")) == asked + 1
    assert ask("/reading/x", "other") == 401


# ---------------------------------------------------------------- cache-responses


def test_upstream_is_asked_once_while_its_answer_is_fresh(samples: Gateway, upstream: Upstream) -> None:
    cached = [attach("add-python-header"), attach("cache-responses", onError={"bodyTooLarge": "continue"})]
    samples.deploy(api("cached", upstream.url, cached))

    def reply(request: Recorded) -> Reply:
        number = str(len(upstream.received))
        lasting = {"/fresh": "max-age=60", "/big": "max-age=60", "/short": "max-age=1"}
        headers = [("cache-control", lasting.get(request.target.partition("?")[0], "private")), ("x-number", number)]
        return Reply(
            200, [*headers, ("x-two", "a"), ("x-two", "b")], b"x" * (2 << 20 if "big" in request.target else 9)
        )

    upstream.reply = reply

    def number(path: str) -> str:
        answer = httpx.get(f"{samples.url}/cached{path}")
        assert answer.status_code == 200
        assert answer.headers.get_list("x-two") == ["a", "b"]
        assert answer.headers["x-python-policy"]  # the policies before it see the answer, whoever gives it
        assert len(answer.content) in {9, 2 << 20}
        return answer.headers["x-number"]

    assert [number("/fresh"), number("/fresh"), number("/fresh?a=1"), number("/fresh")] == ["1", "1", "2", "1"]
    assert [number("/private"), number("/private")] == ["3", "4"]
    assert [number("/big"), number("/big")] == ["5", "6"]
    assert number("/short") == "7"
    eventually("it has grown old, and upstream is asked", lambda: number("/short") == "8", 5)
    assert int(httpx.get(f"{samples.url}/cached/fresh").headers["age"]) >= 1
    assert len(upstream.received) == 8


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


def test_what_a_model_says_is_masked_and_counted_while_it_says_it(samples: Gateway) -> None:
    """Of the two, the one that stands first has the answer last: it counts what the client is given."""
    policies = [attach("count-tokens", timeout="5s"), attach("mask-pii-stream", {"mask": "***"}, timeout="5s")]
    events = model_events.completion(["Ask ", "ada@", "example", ".org", " now"])
    with ModelUpstream() as model, model.saying(events, permits=1):
        samples.deploy(api("said", model.url, policies))
        asked = {"messages": [{"role": "user", "content": "Whom?"}]}
        with httpx.stream("POST", f"{samples.url}/said/chat", json=asked, timeout=20) as answer:
            body = b""
            for part in answer.iter_bytes():
                body += part
                model.permit()
    said = [event.data or "" for event in SseParser().feed(body)]
    assert said[-1] == "[DONE]"
    chunks = [json.loads(data) for data in said[:-1]]
    assert "".join(one["choices"][0]["delta"].get("content", "") for one in chunks[:-1]) == "Ask *** now"
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
    wanted = {"name": "Ada", "papers": [{"ssn": "***", "of": "GB"}]}
    url = f"{samples.url}/people"
    assert httpx.get(f"{url}/one").json() == wanted
    assert [json.loads(line) for line in httpx.get(f"{url}/all").text.splitlines()] == [wanted] * 1000


# ---------------------------------------------------------------- validate-upload


def test_an_upload_that_is_wrong_never_ends_upstream(samples: Gateway, upstream: Upstream) -> None:
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


def test_who_is_refused_hears_so_while_it_still_sends(samples: Gateway, upstream: Upstream) -> None:
    samples.deploy(api("early", upstream.url, [attach("decide-on-upload", {"allow": ["png"]})]))
    with socket.create_connection(("127.0.0.1", samples.port), timeout=20) as client:
        client.sendall(b"POST /early/x HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\nno picture at all")
        assert client.recv(1 << 16).startswith(b"HTTP/1.1 415 ")
    assert upstream.received == []
