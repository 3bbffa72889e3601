"""The policy mcp-authz between the official MCP SDK's client and server: lists and calls agree, in both revisions."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator

import httpx
import pytest
import yaml

from e2e.kit.gateway import Gateway, Json, api, attach, running
from e2e.kit.mcp import LEGACY, STATELESS, Session, events, message, run_client, running_server
from e2e.kit.places import ROOT

pytestmark = pytest.mark.timeout(180)
KEYS = {"reader": "key-of-the-reader-with-128-bits-x", "admin": "key-of-the-admin-with-128-bits-xx"}
TOOLS = ["add", "delete_everything", "wait", "release", "fall_silent", "announce"]
ROLES: Json = {
    "reader": {"tools": ["add", "announce"]},
    "admin": {"tools": ["*"], "resources": ["*"], "prompts": ["*"]},
}
UNKNOWN = {"code": -32602, "message": "Unknown tool: delete_everything"}


@pytest.fixture(scope="module")
def mcp_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    manifest = tmp_path_factory.mktemp("manifest") / "build.yaml"
    policies = [{"name": name} for name in ("mcp-authz", "api-key-auth")]
    manifest.write_text(yaml.safe_dump({"version": "v1", "policies": policies}))
    output = ROOT / "build" / "e2e-mcp"
    subprocess.run(["gatewright", "build", "--manifest", str(manifest), "--output", str(output)], check=True)
    with running(output, manifest.parent / "state") as gateway:
        yield gateway


@pytest.fixture(scope="module", params=["events", "json"])
def address(request: pytest.FixtureRequest, mcp_gateway: Gateway) -> Iterator[str]:
    """An MCP server behind the policy, which answers with event streams or with JSON."""
    with running_server("server.py", *(["--json"] if request.param == "json" else [])) as url:
        hashes = {role: hashlib.sha256(key.encode()).hexdigest() for role, key in KEYS.items()}
        keys = [{"hash": f"sha256:{digest}", "owner": role} for role, digest in hashes.items()]
        authz = {"role": {"from": "subject"}, "roles": ROLES, "everyone": {}}
        policies = [attach("api-key-auth", {"keys": keys}), attach("mcp-authz", authz, timeout="10s")]
        operations = [{"method": method, "path": "/mcp"} for method in ("GET", "POST", "DELETE")]
        name = f"mcp-{request.param}"
        mcp_gateway.deploy(api(name, url, policies, operations))
        yield f"{mcp_gateway.url}/{name}/mcp"


def run_as(role: str, address: str, mode: str, tool: str) -> tuple[list[str], Json]:
    """What the client lists, and what comes of its call."""
    names, result = run_client(address, mode, "call", "--tool", tool, "--header", f"x-api-key={KEYS[role]}")
    return names, result


@pytest.mark.parametrize("mode", [LEGACY, STATELESS])
def test_a_client_lists_and_calls_what_its_role_has(address: str, mode: str) -> None:
    names, result = run_as("reader", address, mode, "add")
    assert names == ["add", "announce"]
    assert result["structuredContent"] == {"result": 5}
    names, result = run_as("reader", address, mode, "delete_everything")
    assert (names, result) == (["add", "announce"], UNKNOWN)
    names, result = run_as("admin", address, mode, "delete_everything")
    assert (names, result["structuredContent"]) == (TOOLS, {"result": "deleted"})


def test_messages_of_the_server_pass_and_missed_lists_are_filtered(address: str) -> None:
    """A client that left before the answer gets it on the stream of GET, by the id of the event before."""
    with httpx.Client(timeout=30, headers={"x-api-key": KEYS["reader"]}) as client:
        session = Session(client, address)
        with session.stream() as answer:
            assert session.call("announce", {"seconds": 0}).status_code == 200
            _, announced = next(events(answer.iter_lines()))
        assert announced["method"] == "notifications/tools/list_changed"
        listed = session.post(message("tools/list"))
        if not listed.headers["content-type"].startswith("text/event-stream"):
            return  # this server keeps no events of answers that are JSON
        numbers = [line.removeprefix("id:").strip() for line in listed.text.splitlines() if line.startswith("id:")]
        with session.stream(last_event_id=numbers[0]) as answer:
            _, replayed = next(events(answer.iter_lines()))
        assert [tool["name"] for tool in replayed["result"]["tools"]] == ["add", "announce"]


def test_what_parsers_read_differently_reaches_no_server(address: str) -> None:
    call = b'"params":{"name":"delete_everything"}}'
    with httpx.Client(timeout=30, headers={"x-api-key": KEYS["reader"]}) as client:
        session = Session(client, address)
        for start in (
            b'{"jsonrpc":"2.0","id":1,"method":"tools/list","method":"tools/call",',
            b'{"jsonrpc":"2.0","id":1,"method":"tools/list","Method":"tools/call",',
            b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add"},',
        ):
            answer = client.post(session.url, content=start + call, headers=session.headers)
            assert answer.status_code == 400, start
            assert answer.json()["error"]["code"] in (-32700, -32600)
        batch = [message("tools/call", {"name": name}, name) for name in ("add", "delete_everything")]
        assert [error["error"]["code"] for error in session.post(batch).json()] == [-32600, -32602]
