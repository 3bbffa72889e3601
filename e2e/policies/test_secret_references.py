"""Secrets that parameters name: files of an operator's, which policies are given and which change meanwhile."""

from __future__ import annotations

import subprocess
import threading
import uuid
from collections.abc import Iterator
from functools import partial

import httpx
import pytest
import yaml

from e2e.kit.gateway import Gateway, Json, api, attach, eventually, running
from e2e.kit.markdown import blocks, page
from e2e.kit.policy_project import PolicyProject, write_whole
from e2e.kit.recorded import record_exchanges, wait_for_exchanges
from e2e.kit.upstream import Recorded, Reply, Upstream

PAGE = "docs/how-to/secrets.md"
pytestmark = pytest.mark.timeout(240)
SIGN = """
import logging
from sdk.policy import UpstreamRequestModifications
from .words import WORD

log = logging.getLogger("sign")

def prepare(params, metadata):
    log.warning("prepared with %s of %s, %r", params["key"], metadata, params)
    return params["key"]

def on_request(ctx, params):
    key = ctx.prepared
    print(f"signing with {key}, {params}, {key!r:>40}")
    if ctx.headers.get("x-raise"):
        raise ValueError("not signed", key, params)
    told = {"key": str(key), "params": str(params)}
    headers = {"x-api-key": key.reveal(), "x-word": WORD}
    return UpstreamRequestModifications(set_headers=headers, analytics_metadata=told)
"""
DEFINITION = """
processingMode: {requestHeaderMode: PROCESS}
parameters:
  type: object
  additionalProperties: false
  required: [key]
  properties:
    key: {type: string, format: secret, minLength: 4}
"""


def unique(text: str) -> str:
    """A name or a value that no test has had before."""
    return f"{text}-{uuid.uuid4().hex[:12]}"


class Node:
    """A gateway with its project, whose `secrets` folder is the operator's."""

    def __init__(self, gateway: Gateway, project: PolicyProject) -> None:
        self.gateway, self.project, self.folder = gateway, project, project.folder / "secrets"
        self.planted: list[str] = []

    def put(self, name: str, value: str) -> None:
        self.planted.append(value)
        file = self.folder / name
        file.parent.mkdir(exist_ok=True, mode=0o700)
        write_whole(file, f"{value}\n")
        file.chmod(0o600)

    def publish(self, name: str, upstream: Upstream, policies: list[Json]) -> Json:
        """The API's status once it was tried."""
        with self.gateway.controller() as client:
            answer = client.post("/v1/apis", json=api(name, upstream.url, policies), params={"wait": "15"})
            assert answer.status_code == 201, answer.text
        return self.status(name)

    def status(self, name: str) -> Json:
        with self.gateway.controller() as client:
            status: Json = client.get(f"/v1/apis/{name}/status").json()
        return status

    def metrics(self) -> str:
        with self.gateway.controller() as client:
            (node,) = client.get("/v1/nodes").json()["nodes"]
            return client.get(f"/v1/nodes/{node['id']}/metrics").text

    def key(self, name: str) -> str:
        """The key that the upstream receives."""
        return httpx.get(f"{self.gateway.url}/{name}/x").raise_for_status().headers["x-api-key"]


def echo_key(request: Recorded) -> Reply:
    return Reply(headers=[("x-api-key", request.value("x-api-key") or ""), ("x-word", request.value("x-word") or "")])


@pytest.fixture(scope="module")
def key_upstream() -> Iterator[Upstream]:
    with Upstream() as upstream:
        upstream.reply = echo_key
        yield upstream


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    project = PolicyProject(tmp_path_factory.mktemp("project"), "e2e-secrets", go=("api-key-auth",))
    project.write_policy("sign", SIGN, more=DEFINITION, words_py="WORD = 'first'\n")
    definition, _ = blocks(page(PAGE), "yaml")
    (source,) = blocks(page(PAGE), "python")
    project.write_policy("upstream-key", source, more=definition)
    with running(None, project.folder / "state", *project.arguments, "--log-level", "debug") as gateway:
        yield Node(gateway, project)


def sign_with(name: str) -> list[Json]:
    return [attach("sign", {"key": {"secretRef": name}})]


def test_a_secret_changes_while_requests_pass(node: Node, key_upstream: Upstream) -> None:
    name, secret = unique("rotates"), unique("key")
    before, after = unique("planted-before"), unique("planted-after")
    node.put(secret, before)
    assert node.publish(name, key_upstream, sign_with(secret))["state"] == "deployed"
    keys_seen: list[str] = []
    ended = threading.Event()

    def ask() -> None:
        with httpx.Client() as client:
            while not ended.wait(0.005):
                answer = client.get(f"{node.gateway.url}/{name}/x")
                keys_seen.append(answer.headers.get("x-api-key", "") if answer.status_code == 200 else answer.text)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        eventually("requests pass", lambda: len(keys_seen) > 20)
        node.put(secret, after)
        eventually("the new one is used", lambda: after in keys_seen, 30)
        count = len(keys_seen)
        eventually("requests pass", lambda: len(keys_seen) > count + 20)
    finally:
        ended.set()
        asking.join()
    changes = [value for value, previous in zip(keys_seen, ["", *keys_seen], strict=False) if value != previous]
    assert changes == [before, after], "expected no error, and no way back"


def test_an_api_waits_for_its_secret_and_its_own_goes_first(node: Node, key_upstream: Upstream) -> None:
    first, second, secret = unique("waits"), unique("waits"), unique("key")
    of_all, own = unique("planted-of-all"), unique("planted-own")
    status = node.publish(first, key_upstream, sign_with(secret))
    assert status["state"] == "pending", status
    for expected in (f"secret {secret}: expected a file", str(node.folder / first / secret), str(node.folder / secret)):
        assert expected in str(status), status
    assert httpx.get(f"{node.gateway.url}/{first}/x").status_code == 503
    node.put(secret, of_all)
    eventually("it is served", lambda: node.status(first)["state"] == "deployed", 60)
    assert node.publish(second, key_upstream, sign_with(secret))["state"] == "deployed"
    assert (node.key(first), node.key(second)) == (of_all, of_all)
    node.put(f"{first}/{secret}", own)
    eventually("its own goes first", lambda: node.key(first) == own, 30)
    assert node.key(second) == of_all


@pytest.mark.slow("what a deployment used is kept for half a minute")
def test_a_secret_that_is_gone_stays_in_use_over_executors_and_generations(node: Node, key_upstream: Upstream) -> None:
    name, secret, value = unique("keeps"), unique("key"), unique("planted-kept")
    node.put(secret, value)
    assert node.publish(name, key_upstream, sign_with(secret))["state"] == "deployed"
    (node.folder / secret).unlink()

    def errors() -> list[Json]:
        return node.gateway.find_records(reference=secret, level="error")

    eventually("the error is logged", errors, 30)
    assert '"failingFiles":1' in node.gateway.admin("engine", "/stats").replace(" ", "")
    assert 'gatewright_secrets_failing{what="file"} 1' in node.metrics()
    assert node.key(name) == value
    word = unique("word")
    node.project.write_policy("sign", SIGN, more=DEFINITION, words_py=f"WORD = {word!r}\n")
    result = node.gateway.reload()
    assert result.returncode == 0, result.stdout + result.stderr
    answer = httpx.get(f"{node.gateway.url}/{name}/x")
    assert (answer.headers["x-api-key"], answer.headers["x-word"]) == (value, word)
    assert len(errors()) == 1
    node.gateway.remove(name)
    eventually("it is forgotten", lambda: 'what="file"} 0' in node.metrics(), 60)


def test_a_go_policy_receives_changes_of_a_list_of_keys(node: Node, key_upstream: Upstream) -> None:
    name, secret = unique("keys"), unique("list")
    first, second = unique("planted-first-key-of-128-bits"), unique("planted-second-key-of-128-bits")
    node.put(secret, f'{{"key": "{first}", "owner": "partner"}}')
    attachments = [attach("api-key-auth", {"keyLists": [{"secretRef": secret}]})]
    assert node.publish(name, key_upstream, attachments)["state"] == "deployed"

    def asked(key: str) -> int:
        return httpx.get(f"{node.gateway.url}/{name}/x", headers={"x-api-key": key}).status_code

    assert (asked(first), asked(second)) == (200, 401)
    node.put(secret, f'{{"key": "{second}", "owner": "partner"}}')
    eventually("the second key is let in", lambda: asked(second) == 200, 30)
    assert asked(first) == 401
    node.planted += [first, second]


def test_the_pages_commands_rotate_a_secret(node: Node, key_upstream: Upstream) -> None:
    """docs/how-to/secrets.md, as it stands."""
    put, change = blocks(page(PAGE), "sh")
    policies = yaml.safe_load(blocks(page(PAGE), "yaml")[1])["policies"]
    name = unique("page")
    for commands, key in ((put, "first-key-of-all"), (change, "second-key-of-all")):
        assert subprocess.run(["bash", "-ec", commands], cwd=node.project.folder, check=False).returncode == 0
        if key == "first-key-of-all":
            assert node.publish(name, key_upstream, policies)["state"] == "deployed"
        eventually(key, partial(lambda expected: node.key(name) == expected, key), 30)
    node.planted += ["first-key-of-all", "second-key-of-all"]


def test_no_secret_appears_in_any_output(node: Node, key_upstream: Upstream) -> None:
    """Last: what the tests above have planted, too."""
    name, secret, value = unique("planted"), unique("key"), unique("planted-value")
    text = unique("planted-text")
    node.put(secret, value)
    texts: list[str] = []
    with record_exchanges(node.gateway), node.gateway.controller() as client:
        for number, key in enumerate(({"secretRef": secret}, text)):
            policies = [attach("sign", {"key": key})]
            answer = client.post(
                "/v1/apis", json=api(f"{name}{number}", key_upstream.url, policies), params={"wait": "15"}
            )
            assert answer.status_code == 201, answer.text
            texts.append(answer.text)
            for headers in ({}, {"x-raise": "1"}):
                httpx.get(f"{node.gateway.url}/{name}{number}/x", headers=headers)
        refused = api(f"{name}2", key_upstream.url, [attach("sign", {"key": {"secretRef": secret, "value": value}})])
        answer = client.post("/v1/apis", json=refused)
        assert answer.status_code == 422
        stored = client.get(f"/v1/apis/{name}0").json()
        assert stored["spec"]["policies"][0]["params"] == {"key": {"secretRef": secret}}
        texts += [answer.text, client.get("/v1/apis").text]
        texts += [str(wait_for_exchanges(node.gateway, 2, api=f"{name}{number}")) for number in range(2)]
    texts += [node.metrics()]
    texts += [node.gateway.admin("engine", f"/{page}") for page in ("stats", "chains", "clusters", "executors", "logs")]
    eventually("the policy's lines are there", lambda: sum("not signed" in line for line in node.gateway.log) >= 2)
    texts += [*node.gateway.log, *node.gateway.printed]
    texts += [path.read_text(errors="replace") for path in node.gateway.run_dir.iterdir() if path.is_file()]
    for secret_text in [*node.planted, text]:
        assert [text for text in texts if secret_text in text] == []
    state = [path.read_bytes() for path in (node.project.folder / "state").rglob("*") if path.is_file()]
    assert any(secret.encode() in content for content in state), "expected the reference in the state"
    for secret_text in node.planted:
        assert [content for content in state if secret_text.encode() in content] == []
