"""Consumers of the controller: keys that are live and refused without another chain, and a start without it."""

from __future__ import annotations

import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from e2e.kit.gateway import Gateway, Json, api, attach, eventually, running
from e2e.kit.listening import write
from e2e.kit.policy_project import PolicyProject
from e2e.kit.scraping import scrape
from e2e.kit.upstream import Recorded, Reply, Upstream

pytestmark = pytest.mark.timeout(300)
SECONDS = 1.0
"""In which a change is live."""
WHO = """
from sdk.policy import UpstreamRequestModifications

def on_request(ctx, params):
    who = ctx.identity
    return UpstreamRequestModifications(set_headers={"x-who": f"{who.consumer} {who.plan}"})
"""


IDENTIFIED = """
def on_request(ctx, params):
    ctx.metadata["identity"] = {"issuer": "https://id", "subject": ctx.headers.get("x-sub"), "method": "jwt"}
"""
"""As jwt-auth identifies a client."""


def resource(kind: str, name: str, team: str = "a", **spec: object) -> Json:
    metadata = {"name": name, "labels": {"team": team}}
    return {"apiVersion": "gatewright.dev/v1", "kind": kind, "metadata": metadata, "spec": spec}


def echo(request: Recorded) -> Reply:
    return Reply(headers=[("x-who", request.value("x-who") or ""), ("x-seen", request.value("x-api-key") or "")])


@pytest.fixture
def project(tmp_path: Path) -> PolicyProject:
    project = PolicyProject(tmp_path, "e2e-consumers", go=("api-key-auth", "consumer", "quota", "rate-limit"))
    project.write_policy("token", IDENTIFIED, more="processingMode: {requestHeaderMode: PROCESS}")
    project.write_policy("who", WHO, more="processingMode: {requestHeaderMode: PROCESS}")
    return project


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as upstream:
        upstream.reply = echo
        yield upstream


class Operated:
    """A gateway, and the commands that people use."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        run_dir = ["--run-dir", str(self.gateway.run_dir)]
        done = subprocess.run(["gatewright", *words, *run_dir], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done

    def key(self, consumer: str, name: str) -> str:
        return self.command("consumer", "key", "create", consumer, name).stdout.strip()

    def answer(self, key: str, name: str = "open") -> httpx.Response:
        return httpx.get(f"{self.gateway.url}/{name}/x", headers={"x-api-key": key})

    def basic_answer(self, user: str, password: str) -> httpx.Response:
        return httpx.get(f"{self.gateway.url}/basic/x", auth=(user, password))

    def until(self, status: int, key: str) -> httpx.Response:
        """The answer once it has this status. A change is live within `SECONDS`."""
        begin = time.monotonic()
        eventually(f"{status}", lambda: self.answer(key).status_code == status, 20)
        assert time.monotonic() - begin < SECONDS
        return self.answer(key)

    def chains(self) -> Json:
        """All chains with their instances, as the engine has them."""
        with self.gateway.controller() as client:
            (node,) = client.get("/v1/nodes").json()["nodes"]
            found: Json = client.get(f"/v1/nodes/{node['id']}/chains").json()
        return found


def test_keys_are_live_at_once_and_on_disk(project: PolicyProject, upstream: Upstream, tmp_path: Path) -> None:
    state, exported, key = tmp_path / "state", tmp_path / "exported", tmp_path / "key.pem"
    subprocess.run(["gatewright", "state", "key", "-o", str(key)], check=True, capture_output=True)
    with running(None, state, *project.arguments, "--state-key", str(key)) as gateway:
        operated = Operated(gateway)
        documents = [resource("Plan", "gold", limits=[{"requests": 5, "per": "1s"}])]
        documents += [resource("Consumer", "acme", plan="gold"), resource("Consumer", "beta", "b")]
        file = tmp_path / "consumers.yaml"
        file.write_text(yaml.safe_dump_all(documents))
        operated.command("apply", "-f", str(file))
        with gateway.controller() as client:
            of_team = {"consumers": {"labels": {"team": "a"}}}
            by_password = {"consumers": True, "basic": True, "header": ""}
            for name, params in (("open", {"consumers": True}), ("team-a", of_team), ("basic", by_password)):
                policies = [attach("api-key-auth", params), attach("who", {})]
                created = client.post("/v1/apis", json=api(name, upstream.url, policies), params={"wait": "15"})
                assert (created.status_code, created.json()["status"]["state"]) == (201, "deployed"), created.text
        chains = operated.chains()
        assert operated.answer("gwk_unknown").status_code == 401
        acme, beta = operated.key("acme", "ci"), operated.key("beta", "ci")
        old = f"planted-{uuid.uuid4().hex}"
        (file := tmp_path / "old.key").write_text(f"{old}\n")
        assert operated.command("consumer", "key", "create", "acme", "old", "--key-file", str(file)).stdout == ""
        assert operated.until(200, old).headers["x-who"] == "acme gold"
        assert operated.basic_answer("acme", old).status_code == 200
        passed = operated.until(200, acme)
        assert (passed.headers["x-who"], passed.headers["x-seen"]) == ("acme gold", "")
        assert operated.until(200, beta).headers["x-who"] == "beta"
        assert [operated.answer(key, "team-a").status_code for key in (acme, beta)] == [200, 401]
        assert operated.basic_answer("acme", acme).headers["x-who"] == "acme gold"
        assert [operated.basic_answer(user, beta).status_code for user in ("acme", "beta")] == [401, 200]
        operated.command("consumer", "key", "delete", "beta", "ci")
        operated.until(401, beta)
        assert operated.basic_answer("beta", beta).status_code == 401
        operated.command("delete", "consumer", "beta")
        assert "acme" in operated.command("get", "consumers").stdout
        assert operated.chains() == chains, "no chain is built again"
        operated.command("state", "export", "-o", str(exported))
        shown = [operated.command(*words).stdout for words in (("audit",), ("get", "consumers", "-o", "yaml"))]
        shown.append(operated.command("consumer", "key", "list", "acme", "-o", "wide").stdout)
        texts = [*shown, *gateway.log, *gateway.printed]
        assert not [text for text in texts for key in (acme, beta, old) if key in text]
        files = [path.read_bytes() for path in state.rglob("*") if path.is_file()]
        assert not [content for content in files for key in (acme, old) if key.encode() in content]
    with running(None, state, *project.arguments, "--no-controller") as gateway:
        operated = Operated(gateway)
        eventually("it serves its last good state", lambda: operated.answer(acme).status_code == 200, 60)
        assert operated.answer(old).status_code == 200
        assert operated.answer(beta).status_code == 401
    source = "--state-from", str(exported), "--state-authority", f"{key}.pub"
    with running(None, tmp_path / "new", *project.arguments, "--no-controller", *source) as gateway:
        operated = Operated(gateway)
        eventually("a new node knows the consumers", lambda: operated.answer(acme).status_code == 200, 60)
        assert operated.answer(acme).headers["x-who"] == "acme gold"
        assert operated.answer(beta).status_code == 401


def test_plans_limit_consumers_and_change_at_once(project: PolicyProject, upstream: Upstream, tmp_path: Path) -> None:
    fields = {"path": "path", "status": "status", "consumer": "consumer", "plan": "plan"}
    spec = {"accessLog": {"fields": fields}}
    listeners = write(tmp_path / "gateway.yaml", {"name": "http"}, **spec)
    with running(None, tmp_path / "state", *project.arguments, "--gateway", str(listeners)) as gateway:
        operated = Operated(gateway)

        def apply(requests: int) -> None:
            limits = [{"requests": requests, "per": "1h"}]
            documents = [resource("Plan", "gold", limits=limits, quotas=[{"requests": 4, "period": "day"}])]
            documents.append(resource("Consumer", "acme", plan="gold", jwt=[{"issuer": "https://id", "subject": "7"}]))
            file = tmp_path / "plans.yaml"
            file.write_text(yaml.safe_dump_all(documents))
            operated.command("apply", "-f", str(file))

        apply(2)
        limits = [attach("rate-limit", {"plan": True}), attach("who", {})]
        quota = attach("quota", {"plan": True, "period": "day"})
        with gateway.controller() as client:
            for name, policies in (
                ("open", [attach("api-key-auth", {"consumers": True}), *limits]),
                ("tokens", [attach("token", {}), attach("consumer", {}), *limits]),
                ("counted", [attach("api-key-auth", {"consumers": True}), quota]),
            ):
                created = client.post("/v1/apis", json=api(name, upstream.url, policies), params={"wait": "15"})
                assert (created.status_code, created.json()["status"]["state"]) == (201, "deployed"), created.text
        key = operated.key("acme", "ci")
        eventually("its key is live", lambda: operated.answer(key, "counted").status_code == 200, 20)
        assert [operated.answer(key).status_code for _ in range(3)] == [200, 200, 429]
        apply(50)
        operated.until(200, key)
        assert ";r=4" in operated.answer(key).headers["ratelimit"]
        assert [operated.answer(key, "counted").status_code for _ in range(4)] == [200] * 3 + [429]
        for subject, status, who in (("7", 200, "acme gold"), ("8", 403, None)):
            answer = httpx.get(f"{gateway.url}/tokens/x", headers={"x-sub": subject})
            assert (answer.status_code, answer.headers.get("x-who")) == (status, who)
        both = {("acme", "gold", 200), ("acme", "gold", 429)}
        eventually("the log has the consumer", lambda: logged(gateway, "open") == both)
        eventually("by a token, too", lambda: logged(gateway, "tokens") == {("acme", "gold", 200), (None, None, 403)})
        page = scrape(gateway)
        counted = {name: page.value("gatewright_plan_exchanges_total", api=name) for name in ("counted", "tokens")}
        assert counted == {"counted": 5, "tokens": 1}, "those that are refused for the plan, too"
        assert page.value("gatewright_plan_exchanges_total", plan="gold") > 6


def logged(gateway: Gateway, name: str) -> set[tuple[str | None, str | None, int]]:
    """Consumers, plans and statuses of the access log's lines of an API."""
    return {(line.get("consumer"), line.get("plan"), line["status"]) for line in gateway.access_records(name)}
