"""The policy audit-log behind a real gateway: the lines of exchanges, their members, and exchanges whose line
cannot be written.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from e2e.kit.gateway import Gateway, Json, api, attach, eventually, running
from e2e.kit.markdown import blocks, inline, page
from e2e.kit.places import ROOT
from e2e.kit.scraping import scrape
from e2e.kit.upstream import Upstream

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("audits")


@pytest.fixture(scope="module")
def audit_gateway(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway with Go policies alone, whose operator keeps audit logs in `folder`."""
    manifest = tmp_path_factory.mktemp("manifest") / "build.yaml"
    names = ("audit-log", "respond")
    manifest.write_text(yaml.safe_dump({"version": "v1", "policies": [{"name": name} for name in names]}))
    output = ROOT / "build" / "e2e-audit-log"
    subprocess.run(["gatewright", "build", "--manifest", str(manifest), "--output", str(output)], check=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GATEWRIGHT_CONTROLLER_SYSTEM_PARAMETERS", json.dumps({"audit-log": {"folder": str(folder)}}))
        with running(output, manifest.parent / "state") as gateway:
            yield gateway


def lines(path: Path) -> list[Json]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_each_exchange_has_its_line_whichever_party_answers(
    audit_gateway: Gateway, folder: Path, upstream: Upstream
) -> None:
    headers = {"requestHeaders": ["user-agent", "authorization"], "responseHeaders": ["content-type"]}
    log = attach("audit-log", {"file": "orders.jsonl", "begin": True, "hashChain": True, **headers})
    refuses = [{"method": "DELETE", "path": "/*", "policies": [attach("respond", {"statusCode": 403})]}]
    audit_gateway.deploy(api("orders", upstream.url, [log], [{"method": "GET", "path": "/{id}"}, *refuses]))
    with httpx.Client(base_url=f"{audit_gateway.url}/orders", headers={"user-agent": "test"}) as client:
        assert client.get("/7?token=s3cret", headers={"authorization": "Bearer s3cret"}).status_code == 200
        assert client.delete("/7").status_code == 403
    request_id = upstream.received[0].value("x-request-id")
    eventually("the lines", lambda: len(lines(folder / "orders.jsonl")) == 4)
    begun, ended, _, refused = lines(folder / "orders.jsonl")
    assert (begun["event"], begun["requestId"], "status" in begun) == ("request", request_id, False)
    assert {name: ended[name] for name in ("event", "requestId", "api", "operation", "client", "method", "path")} == {
        "event": "response", "requestId": request_id, "api": "orders", "operation": "GET /{id}", "client": "127.0.0.1",
        "method": "GET", "path": "/orders/7",
    }  # fmt: skip
    assert (ended["status"], ended["outcome"]) == (200, "ok")
    assert ended["requestHeaders"] == {"authorization": ["[redacted]"], "user-agent": ["test"]}
    assert (refused["status"], refused["outcome"], refused["operation"]) == (403, "denied", "DELETE /*")
    assert [line["chain"]["sequence"] for line in lines(folder / "orders.jsonl")] == [1, 2, 3, 4]
    assert "s3cret" not in (folder / "orders.jsonl").read_text()
    assert run_verifier(folder / "orders.jsonl") == "1 whole chains\n"
    whole = (folder / "orders.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "cut.jsonl").write_bytes(b"".join([whole[0], *whole[2:]]))
    assert run_verifier(folder / "cut.jsonl").endswith("cut.jsonl:2: broken chain\n")


def run_verifier(path: Path) -> str:
    """The output of the program in docs/how-to/audit-log.md."""
    (program,) = blocks(page("docs/how-to/audit-log.md"), "python")
    result = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False)
    return result.stdout + result.stderr


def test_a_line_has_the_members_that_the_page_lists(audit_gateway: Gateway, folder: Path, upstream: Upstream) -> None:
    text = page("docs/how-to/audit-log.md")
    operator, example = (yaml.safe_load(block) for block in blocks(text, "yaml"))
    assert operator.keys() == {"audit-log"}
    assert operator["audit-log"].keys() == {"folder"}
    log = example["policies"][0]
    log["params"] = {**log["params"], "file": "members.jsonl", "responseHeaders": ["content-type"], "hashChain": True}
    audit_gateway.deploy(api("members", upstream.url, [log]))
    assert httpx.get(f"{audit_gateway.url}/members/x").status_code == 200
    eventually("its line", lambda: len(lines(folder / "members.jsonl")) == 1)
    rows = text.partition("| member | value |")[2].partition("\n\n")[0].splitlines()
    members = {name for row in rows[2:] for name in inline(row.split("|")[1])}
    unset = {"subject", "issuer", "peer", "peerSubject", "responseHeaders"}
    assert set(lines(folder / "members.jsonl")[0]) >= members - unset
    assert set(lines(folder / "members.jsonl")[0]) <= members


def test_a_request_without_a_line_reaches_no_upstream(audit_gateway: Gateway, folder: Path, upstream: Upstream) -> None:
    refuses, goes_on = ({"file": f"{name}.jsonl", "begin": True, "onFailure": name} for name in ("refuse", "continue"))
    audit_gateway.deploy(api("refuses", upstream.url, [attach("audit-log", refuses)]))
    audit_gateway.deploy(api("goes-on", upstream.url, [attach("audit-log", goes_on)]))
    for name in ("refuse", "continue"):  # the file is gone, and something else is in its place
        (folder / f"{name}.jsonl").unlink()
        (folder / f"{name}.jsonl").mkdir()

    def ask() -> int:
        upstream.reset()
        return httpx.get(f"{audit_gateway.url}/refuses/x").status_code

    # The policy checks once a second: before the request's line, or between it and the response's.
    eventually("a line is refused", lambda: ask() == 503)
    for _ in range(3):
        assert ask() == 503
        assert upstream.received == []
    eventually(
        "it has been counted",
        lambda: httpx.get(f"{audit_gateway.url}/goes-on/x").status_code == 200 and count_lost_lines(audit_gateway) > 0,
    )


def count_lost_lines(gateway: Gateway) -> float:
    """The lines of the API that goes on without them."""
    return scrape(gateway).value("gatewright_policy_lines_lost_total", api="goes-on")


def test_an_api_waits_for_the_operators_folder_and_then_is_served(
    audit_gateway: Gateway, upstream: Upstream, folder: Path
) -> None:
    (folder / "no-file.jsonl").mkdir()
    document = api("waits", upstream.url, [attach("audit-log", {"file": "no-file.jsonl"})])
    with audit_gateway.controller() as client:
        assert client.post("/v1/apis", json=document, params={"wait": "15"}).is_success
        status = client.get("/v1/apis/waits/status").json()
        assert status["state"] == "pending"
        (folder / "no-file.jsonl").rmdir()
        eventually("it is served", lambda: client.get("/v1/apis/waits/status").json()["state"] == "deployed", 45)
    assert "is a directory" in str(status)
    assert "the operator sets the folder by the system parameter folder of audit-log" in str(status)
