"""Policies of `gatewright new policy` are built and serve: of each kind at a start; and, by the commands of
docs/tutorial/quickstart.md, while the gateway runs with --watch.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from e2e.kit.gateway import Gateway, Json, api, attach, running
from e2e.kit.markdown import blocks, inline, page, section
from e2e.kit.places import ROOT
from e2e.kit.upstream import Recorded, Reply, Upstream

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    run_gatewright(folder, "init")
    for name, *options in (("in-go", "--go"), ("plain-one",), ("asks-one", "--async"), ("streams-one", "--stream")):
        run_gatewright(folder, "new", "policy", name, *options)
    return folder


@pytest.fixture(scope="module")
def watching_gateway(project: Path) -> Iterator[Gateway]:
    output = ROOT / "build" / "e2e-new-policy"  # the same each time, so that Go is compiled once
    manifest = ["--manifest", str(project / "build.yaml"), "--output", str(output)]
    with running(None, project / "state", *manifest, "--with-echo", "--echo-port", "0", "--watch") as gateway:
        yield gateway


def run_gatewright(folder: Path, *arguments: str) -> str:
    result = subprocess.run(["gatewright", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def deploy(gateway: Gateway, name: str, upstream: str, params: Json) -> str:
    """The URL of an API that attaches it."""
    gateway.deploy(api(name, upstream, [attach(name, params)]))
    return f"{gateway.url}/{name}/x"


def test_a_new_policy_in_go_runs(watching_gateway: Gateway, upstream: Upstream) -> None:
    url = deploy(watching_gateway, "in-go", upstream.url, {})
    assert (httpx.get(url).status_code, upstream.received) == (400, [])
    assert httpx.get(url, headers={"x-tenant": "blue"}).status_code == 200
    assert upstream.received[0].value("x-seen-tenant") == "blue"


def test_a_new_plain_policy_runs(watching_gateway: Gateway, upstream: Upstream) -> None:
    url = deploy(watching_gateway, "plain-one", upstream.url, {"header": "x-shop"})
    refused = httpx.get(url, headers=[("x-shop", "blue"), ("x-shop", "green")])
    assert (refused.status_code, refused.text) == (400, "expected one header x-shop, got 2\n")
    assert httpx.get(url, headers={"x-shop": "blue"}).status_code == 200
    assert [request.value("x-seen-tenant") for request in upstream.received] == ["blue"]


def plans(request: Recorded) -> Reply:
    plan = b'{"plan": "gold"}' if request.target == "/plans?tenant=blue" else b"{}"
    return Reply(200, [("content-type", "application/json")], plan)


def test_a_new_policy_that_calls_a_service_runs(watching_gateway: Gateway, upstream: Upstream) -> None:
    upstream.reply = plans
    url = deploy(watching_gateway, "asks-one", upstream.url, {"url": f"{upstream.url}/plans"})
    refused = httpx.get(url, headers={"x-tenant": "green"})
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
    assert httpx.get(url, headers={"x-tenant": "blue"}).status_code == 200
    first, again, passed = upstream.received
    assert [first.target, again.target] == ["/plans?tenant=green", "/plans?tenant=blue"]
    assert passed.value("x-plan") == "gold"


def test_a_new_stream_policy_runs(watching_gateway: Gateway, upstream: Upstream) -> None:
    upstream.reply = lambda _: Reply(200, [("content-type", "text/plain")], b"a secret, secretly")
    url = deploy(watching_gateway, "streams-one", upstream.url, {})
    assert httpx.get(url).text == "a ***, ***ly"


def test_the_quickstarts_policy_goes_live(watching_gateway: Gateway, project: Path) -> None:
    text = section(page("docs/tutorial/quickstart.md"), "A policy of your own")
    write, attached, edit = blocks(text, "sh")
    assert "2 passed" in shell(watching_gateway, project, write)
    answers = shell(watching_gateway, project, attached)
    codes = [code for code in inline(text) if code.startswith(("expected one", "x-seen-tenant"))]
    assert codes == ["expected one header x-tenant, got 0", "x-seen-tenant: blue"]
    assert f"{codes[0]}\n" in answers
    assert '"x-seen-tenant", "blue"' in answers.replace('","', '", "')
    answers = shell(watching_gateway, project, edit)
    assert "2 passed" in answers
    assert answers.endswith(f"{codes[0]}; ask the shop for yours\n")
    for option in re.findall(r"`(--[a-z]+)`", text):
        assert option in run_gatewright(project, "new", "policy", "--help")


def shell(gateway: Gateway, folder: Path, script: str) -> str:
    """The output of the commands, with this gateway's port and directory."""
    script = script.replace("127.0.0.1:8080", f"127.0.0.1:{gateway.port}")
    script = re.sub(r"gatewright (reload|apply)", rf"\g<0> --run-dir {gateway.run_dir}", script)
    result = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=folder, capture_output=True, text=True, check=False, timeout=100
    )
    assert result.returncode == 0, f"{script}\n{result.stdout}\n{result.stderr}"
    return result.stdout
