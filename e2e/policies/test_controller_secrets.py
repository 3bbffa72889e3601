"""Secrets of the controller: encrypted there, sent to the node whose APIs name them, live when they change."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from e2e.kit.gateway import Gateway, Json, api, attach, eventually, running
from e2e.kit.policy_project import PolicyProject
from e2e.kit.recorded import record_exchanges, wait_for_exchanges
from e2e.kit.upstream import Recorded, Reply, Upstream

pytestmark = pytest.mark.timeout(300)
SIGN = """
import logging
from sdk.policy import UpstreamRequestModifications

log = logging.getLogger("sign")

def on_request(ctx, params):
    print(f"signing with {params['key']}, {params}")
    if ctx.headers.get("x-raise"):
        raise ValueError("not signed", params)
    return UpstreamRequestModifications(set_headers={"x-api-key": params["key"].reveal()})
"""
DEFINITION = """
processingMode: {requestHeaderMode: PROCESS}
parameters:
  type: object
  additionalProperties: false
  required: [key]
  properties:
    key: {type: string, format: secret}
"""


def planted(text: str) -> str:
    """A value that no test has had before."""
    return f"planted-{text}-{uuid.uuid4().hex}"


class Operated:
    """A gateway with the operator's key file, and the commands that people use."""

    def __init__(self, folder: Path, project: PolicyProject, keys: Path) -> None:
        self.folder, self.project, self.keys, self.state = folder, project, keys, folder / "state"
        self.outputs: list[str] = []
        self.gateway: Gateway | None = None

    @property
    def node(self) -> Gateway:
        assert self.gateway
        return self.gateway

    def command(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            ["gatewright", *words, "--run-dir", str(self.node.run_dir)],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
        )
        self.outputs += [done.stdout, done.stderr]
        return done

    def set(self, name: str, **values: str) -> None:
        for key, value in values.items():
            done = self.command("secret", "set", name, f"{key}=-", stdin=f"{value}\n")
            assert done.returncode == 0, done.stderr

    def answer(self, name: str, **headers: str) -> httpx.Response:
        return httpx.get(f"{self.node.url}/{name}/x", headers=headers)

    def key(self, name: str) -> str:
        return self.answer(name).raise_for_status().headers["x-api-key"]


def echo_key(request: Recorded) -> Reply:
    return Reply(headers=[("x-api-key", request.value("x-api-key") or "")])


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as upstream:
        upstream.reply = echo_key
        yield upstream


@pytest.fixture
def operated(tmp_path: Path) -> Operated:
    project = PolicyProject(tmp_path, "e2e-secrets", go=("api-key-auth",))
    project.write_policy("sign", SIGN, more=DEFINITION)
    keys = tmp_path / "keys"
    keys.write_text(base64.b64encode(os.urandom(32)).decode())
    keys.chmod(0o600)
    return Operated(tmp_path, project, keys)


@contextlib.contextmanager
def start(operated: Operated, *arguments: str) -> Iterator[Gateway]:
    within = ["env", f"GATEWRIGHT_CONTROLLER_SECRET_KEY_FILE={operated.keys}"]
    with running(None, operated.state, *operated.project.arguments, *arguments, within=within) as gateway:
        operated.gateway = gateway
        yield gateway


def key_list(key: str) -> str:
    return json.dumps({"key": key, "owner": "partner"})


def test_from_a_write_to_a_start_without_the_controller(operated: Operated, upstream: Upstream) -> None:
    first, second, admitted, changed = (planted(text) for text in ("first", "second", "admitted-key", "changed-key"))
    with start(operated, "--log-level", "debug") as gateway:
        signed = [attach("sign", {"key": {"secretRef": "pay/key"}})]
        guarded = [attach("api-key-auth", {"keyLists": [{"secretRef": "pay/keys.v1"}]})]
        with gateway.controller() as client:
            early = client.post("/v1/apis", json=api("signed", upstream.url, signed))
            assert (early.status_code, "gatewright secret set pay key=@FILE" in early.text) == (422, True)
            assert operated.command("secret", "set", "pay", f"key={first}").returncode == 1
            assert first not in operated.outputs[-1], "a value on the command line is not echoed"
            operated.set("pay", key=first, **{"keys.v1": key_list(admitted)})
            for name, policies in (("signed", signed), ("guarded", guarded)):
                created = client.post("/v1/apis", json=api(name, upstream.url, policies), params={"wait": "15"})
                assert (created.status_code, created.json()["status"]["state"]) == (201, "deployed"), created.text
        assert operated.key("signed") == first
        assert operated.answer("guarded", **{"x-api-key": admitted}).status_code == 200
        assert operated.answer("guarded", **{"x-api-key": changed}).status_code == 401
        with record_exchanges(gateway):
            operated.set("pay", key=second)
            eventually("the second value is live", lambda: operated.key("signed") == second, 20)
            operated.set("pay", **{"keys.v1": key_list(changed)})
            eventually(
                "the Go policy has the other key",
                lambda: operated.answer("guarded", **{"x-api-key": changed}).status_code == 200,
                20,
            )
            operated.answer("signed", **{"x-raise": "1"})
            operated.outputs.append(str(wait_for_exchanges(gateway, 2, api="signed")))
        inspect(operated, gateway)
        values = (first, second, admitted, changed)
        eventually("the policy's lines are there", lambda: any("not signed" in line for line in gateway.log))
        assert found_in(operated.outputs + gateway.log + gateway.printed, values) == []
        run = [path.read_text(errors="replace") for path in gateway.run_dir.iterdir() if path.is_file()]
        assert found_in(run, values) == []
        files = {path: path.read_bytes() for path in operated.state.rglob("*") if path.is_file()}
        with_values = {path.name for path, content in files.items() if any(v.encode() in content for v in values)}
        assert with_values == {"secrets"}
        (kept,) = (path for path in files if path.name == "secrets")
        assert kept.stat().st_mode & 0o777 == 0o600
        assert not any(value.encode() in files[kept] for value in (first, admitted)), "only the present values"
    with start(operated, "--no-controller") as gateway:
        eventually("it serves its last good state", lambda: operated.key("signed") == second, 60)
        assert operated.answer("guarded", **{"x-api-key": changed}).status_code == 200
        assert found_in(gateway.log + gateway.printed, values) == []


def inspect(operated: Operated, gateway: Gateway) -> None:
    """Every command that shows a Secret, or what names one."""
    shown = operated.command("get", "secrets", "pay", "-o", "yaml").stdout
    document: Json = yaml.safe_load(shown)
    assert document["spec"]["values"] == {"key": "********", "keys.v1": "********"}
    file = operated.folder / "pay.yaml"
    file.write_text(shown)
    assert "Secret pay unchanged" in operated.command("apply", "-f", str(file)).stdout
    assert "nothing to do" in operated.command("plan", "-f", str(file)).stdout
    document["metadata"]["labels"] = {"team": "a"}
    file.write_text(yaml.safe_dump(document))
    assert "change Secret pay" in operated.command("plan", "-f", str(file), "-o", "plan.json", "--diff").stdout
    assert operated.command("apply", "--plan", "plan.json").returncode == 0
    document["spec"]["values"]["key"] = planted("never-stored")
    file.write_text(yaml.safe_dump(document))
    refused = operated.command("plan", "-f", str(file), "-o", "other.json")
    assert (refused.returncode, "in clear" in refused.stderr) == (1, True)
    assert "# a new value" in operated.command("diff", "secret/pay@-3").stdout
    for words in (
        ("history", "secret/pay"),
        ("list", "secrets", "-o", "wide"),
        ("secret", "list", "-o", "json"),
        ("audit", "--changes"),
        ("status",),
        ("get", "apis", "-o", "json"),
        ("secret", "rotate"),
    ):
        assert operated.command(*words).returncode == 0, operated.outputs[-2:]
    assert "the key key of pay, which the API signed names" in operated.command("secret", "delete", "pay").stderr
    operated.outputs += [(operated.folder / "plan.json").read_text()]
    with gateway.controller() as client:
        (node,) = client.get("/v1/nodes").json()["nodes"]
        paths = [f"/v1/nodes/{node['id']}/{page}" for page in ("metrics", "chains", "clusters", "stats", "notes")]
        operated.outputs += [client.get(path).text for path in (*paths, "/v1/audit?changes=true", "/metrics")]


def found_in(texts: list[str], values: tuple[str, ...]) -> list[str]:
    return [text for text in texts if any(value in text for value in values)]
