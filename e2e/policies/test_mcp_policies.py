"""The policies of MCP between the official MCP SDK's client and server, in both revisions.

With mcp-authz lists and calls agree, mcp-audit has a line for each call, and mcp-tools makes tools of a REST API.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Iterator

import httpx
import pytest
import yaml

from e2e.kit.gateway import Gateway, Json, api, attach, eventually, running
from e2e.kit.listening import free_port
from e2e.kit.markdown import blocks, page
from e2e.kit.mcp import ACCEPTED, LEGACY, STATELESS, Session, events, message, run_client, running_server
from e2e.kit.places import ROOT
from e2e.kit.scraping import scrape
from e2e.kit.upstream import Recorded, Reply, Upstream, echo

pytestmark = pytest.mark.timeout(180)
KEYS = {"reader": "key-of-the-reader-with-128-bits-x", "admin": "key-of-the-admin-with-128-bits-xx"}
TOOLS = ["add", "delete_everything", "wait", "release", "fall_silent", "announce"]
ROLES: Json = {
    "reader": {"tools": ["add", "announce"]},
    "admin": {"tools": ["*"], "resources": ["*"], "prompts": ["*"]},
}
UNKNOWN = {"code": -32602, "message": "Unknown tool: delete_everything"}
ORDER = {"type": "object", "required": ["item"], "properties": {"item": {"type": "string"}}}
NUMBERS = [{"name": name, "in": "query", "schema": {"type": "integer"}} for name in "ab"]
REST: Json = {
    "openapi": "3.0.3",
    "info": {"title": "Orders", "version": "1"},
    "paths": {
        "/sum": {"get": {"operationId": "add", "parameters": NUMBERS}},
        "/orders/{id}": {
            "parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}],
            "put": {
                "operationId": "putOrder",
                "requestBody": {"required": True, "content": {"application/json": {"schema": ORDER}}},
            },
            "delete": {"operationId": "deleteOrder"},
        },
    },
}


def by_key() -> Json:
    hashes = {role: hashlib.sha256(key.encode()).hexdigest() for role, key in KEYS.items()}
    return attach(
        "api-key-auth", {"keys": [{"hash": f"sha256:{digest}", "owner": role} for role, digest in hashes.items()]}
    )


def by_role() -> Json:
    return attach("mcp-authz", {"role": {"from": "subject"}, "roles": ROLES, "everyone": {}}, timeout="10s")


@pytest.fixture(scope="module")
def mcp_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    manifest = tmp_path_factory.mktemp("manifest") / "build.yaml"
    policies = [{"name": name} for name in ("mcp-authz", "mcp-audit", "mcp-servers", "mcp-tools", "api-key-auth")]
    manifest.write_text(yaml.safe_dump({"version": "v1", "policies": policies}))
    output = ROOT / "build" / "e2e-mcp"
    subprocess.run(["gatewright", "build", "--manifest", str(manifest), "--output", str(output)], check=True)
    with running(output, manifest.parent / "state") as gateway:
        yield gateway


@pytest.fixture(scope="module", params=["events", "json"])
def address(request: pytest.FixtureRequest, mcp_gateway: Gateway) -> Iterator[str]:
    """An MCP server behind the policy, which answers with event streams or with JSON."""
    with running_server("server.py", *(["--json"] if request.param == "json" else [])) as url:
        audit = attach("mcp-audit", {"arguments": "values"}, timeout="10s")
        policies = [by_key(), audit, by_role()]
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


# ------------------------------------------------------------------ mcp-audit


def calls_in(gateway: Gateway, session: str) -> list[Json]:
    """What mcp-audit has logged of a session."""
    lines = [json.loads(line) for line in gateway.log if session in line]
    return [json.loads(line["message"])["mcp"] for line in lines if line.get("policy") == "mcp-audit:v1.0.0"]


def test_each_call_has_a_line_also_when_it_is_refused(mcp_gateway: Gateway, address: str) -> None:
    with httpx.Client(timeout=30, headers={"x-api-key": KEYS["reader"]}) as client:
        session = Session(client, address)
        assert session.call("add", {"a": 2, "b": 3, "token": "hidden"}).status_code == 200
        assert session.call("delete_everything").status_code == 200
        assert session.post(message("tools/list")).status_code == 200
    own = session.headers["mcp-session-id"]
    eventually("both lines are there", lambda: len(calls_in(mcp_gateway, own)) >= 2)
    done, refused = calls_in(mcp_gateway, own)
    seen = [(call["tool"], call["outcome"], call["status"], call["subject"]) for call in (done, refused)]
    assert seen == [("add", "ok", 200, "reader"), ("delete_everything", "error", 200, "reader")]
    assert done["arguments"] == {"a": 2, "b": 3, "token": "[redacted]"}
    assert (refused["code"], "code" in done, done["responseBytes"] > 0) == (-32602, False, True)
    assert all("hidden" not in line for line in mcp_gateway.log)
    series = {"api": done["api"], "tool": "add", "outcome": "ok"}
    counts = "gatewright_policy_mcp_calls_total"
    eventually("the call is counted", lambda: scrape(mcp_gateway).value(counts, **series) >= 1)


# ------------------------------------------------------------------ mcp-tools


def deploy_tools(gateway: Gateway, name: str, url: str, *before: Json) -> str:
    tools = attach("mcp-tools", {"openapi": REST, "server": {"name": "orders"}}, timeout="10s")
    operations = [{"method": method, "path": "/mcp"} for method in ("GET", "POST", "DELETE")]
    gateway.deploy(api(name, url, [*before, tools], operations))
    return f"{gateway.url}/{name}/mcp"


@pytest.mark.parametrize("mode", [LEGACY, STATELESS])
def test_a_client_calls_a_rest_api(mcp_gateway: Gateway, upstream: Upstream, mode: str) -> None:
    """Its tools are those of the role; the upstream gets a request as from any client of the API."""
    url = deploy_tools(mcp_gateway, "rest-by-role", f"{upstream.url}/base", by_key(), by_role())
    names, result = run_as("reader", url, mode, "add")
    assert names == ["add"]
    assert result["structuredContent"] == {"method": "GET", "target": "/base/sum?a=2&b=3", "length": 0}
    assert json.loads(result["content"][0]["text"]) == result["structuredContent"]
    (received,) = upstream.received
    assert [received.value(name) for name in ("content-type", "mcp-session-id", "mcp-protocol-version")] == [None] * 3
    names, result = run_as("admin", url, mode, "nothing")
    assert sorted(names) == ["add", "deleteOrder", "putOrder"]
    assert result["message"] == "Unknown tool: nothing"


def call_over_http(client: httpx.Client, url: str, tool: str, arguments: Json) -> Json:
    answer = client.post(url, json=message("tools/call", {"name": tool, "arguments": arguments}), headers=ACCEPTED)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json"), answer.text
    assert "set-cookie" not in answer.headers
    result: Json = answer.json()["result"]
    return result


def test_whatever_the_api_answers_is_the_result(mcp_gateway: Gateway, upstream: Upstream) -> None:
    url = deploy_tools(mcp_gateway, "rest", upstream.url)

    def reply(request: Recorded) -> Reply:
        if request.method == "DELETE":
            return Reply(204)
        refused = Reply(409, [("content-type", "application/json"), ("set-cookie", "a=b")], b'{"title":"taken"}')
        return refused if request.target == "/orders/taken" else echo(request)

    upstream.reply = reply
    with httpx.Client(timeout=30, headers={"authorization": "Bearer of-the-client"}) as client:
        put = call_over_http(client, url, "putOrder", {"id": "7 8", "body": {"item": "tea"}})
        assert put["structuredContent"] == {"method": "PUT", "target": "/orders/7%208", "length": 14}
        taken = call_over_http(client, url, "putOrder", {"id": "taken", "body": {"item": "tea"}})
        assert (taken["isError"], taken["structuredContent"]) == (True, {"title": "taken"})
        deleted = call_over_http(client, url, "deleteOrder", {"id": "7"})
        assert (deleted["isError"], deleted["_meta"]) == (False, {"gatewright.dev/status": 204})
        asked = len(upstream.received)
        for wrong in ("..", "../admin", "a/b", "%2e%2e"):
            assert call_over_http(client, url, "deleteOrder", {"id": wrong})["isError"] is True
        assert call_over_http(client, url, "putOrder", {"id": "7", "body": {}})["isError"] is True
        assert len(upstream.received) == asked
        assert [client.request(method, url).status_code for method in ("GET", "DELETE")] == [405, 405]
    assert upstream.received[0].body == b'{"item":"tea"}'
    assert [request.value("authorization") for request in upstream.received] == [None] * 3


def test_an_api_that_is_away_is_an_error_of_the_tool(mcp_gateway: Gateway) -> None:
    with Upstream() as gone:
        url = deploy_tools(mcp_gateway, "rest-away", gone.url)
    with httpx.Client(timeout=30) as client:
        result = call_over_http(client, url, "deleteOrder", {"id": "7"})
    assert (result["isError"], result["_meta"]) == (True, {"gatewright.dev/status": 503})


# ------------------------------------------------------------------ mcp-servers


@pytest.fixture(scope="module")
def merged(mcp_gateway: Gateway) -> Iterator[str]:
    """The API of the page, before two servers, and a third that is away."""
    with running_server("server.py") as github, running_server("conformance_server.py") as jira:
        text = next(block for block in blocks(page("docs/how-to/mcp.md"), "yaml") if "mcp-servers" in block)
        for shown, url in (("http://github-mcp.internal:8000", github), ("http://jira-mcp.internal:8000", jira)):
            assert text.count(shown) == 2
            text = text.replace(shown, url)
        document = yaml.safe_load(text)
        servers = document["spec"]["policies"][0]["params"]["servers"]
        servers[0]["headers"][0]["value"] = "Bearer of-the-gateway"
        servers.append({"name": "away", "url": f"http://127.0.0.1:{free_port()}/mcp", "upstream": "jira"})
        mcp_gateway.deploy(document)
        yield f"{mcp_gateway.url}/all-tools/mcp"


@pytest.mark.parametrize("mode", [LEGACY, STATELESS])
def test_a_client_lists_and_calls_tools_of_several_servers(merged: str, mode: str) -> None:
    names, result = run_client(merged, mode, "call", "--tool", "github__add")
    assert {"github__add", "github__wait", "tickets__test_simple_text"} <= set(names)
    assert result["structuredContent"] == {"result": 5}
    _, result = run_client(merged, mode, "call", "--tool", "tickets__test_simple_text")
    assert result["content"][0]["text"] == "This is a simple text response for testing."
    _, unknown = run_client(merged, mode, "call", "--tool", "jira__test_simple_text")
    assert unknown["message"] == "Unknown tool: jira__test_simple_text"


def test_servers_that_are_away_are_named_and_the_session_is_the_clients(merged: str) -> None:
    with httpx.Client(timeout=30) as client:
        session = Session(client, merged)
        listed = session.post(message("tools/list")).json()["result"]
        assert listed["_meta"] == {"gatewright.dev/missing": [{"server": "away", "reason": "no session"}]}
        assert "mcp-session-id" not in session.call("github__add", {"a": 1, "b": 2}).headers
        assert client.get(merged, headers=session.headers).status_code in (404, 405)
        assert client.delete(merged, headers=session.headers).status_code == 204
        assert session.call("github__add", {"a": 1, "b": 2}).status_code == 404


def test_a_server_asks_the_client_in_the_middle_of_a_call(merged: str) -> None:
    """The request comes on the call's stream, and the client's answer finds the server that waits for it."""
    with httpx.Client(timeout=30) as client:
        session = Session(client, merged, {"sampling": {}})
        call = message("tools/call", {"name": "tickets__test_sampling", "arguments": {"prompt": "Hi"}}, 5)
        with client.stream("POST", merged, json=call, headers=session.headers) as answer:
            lines = events(answer.iter_lines())
            _, asked = next(lines)
            assert asked["method"] == "sampling/createMessage"
            content = {"role": "assistant", "content": {"type": "text", "text": "Ho"}, "model": "m"}
            reply = session.post({"jsonrpc": "2.0", "id": asked["id"], "result": content})
            assert reply.status_code == 202
            _, result = next(lines)
        assert (result["id"], result["result"]["content"][0]["text"]) == (5, "LLM response: Ho")
