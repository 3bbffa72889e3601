import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from sdk import testing
from sdk.policy import ImmediateResponse, UpstreamRequestModifications, UpstreamResponseModifications

policy = testing.load_policy(__file__)
sessions = policy.read_id.__globals__
Session = sessions["Session"]
JSON, EVENTS = "application/json", "text/event-stream"
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}
STATELESS = {"mcp-protocol-version": "2026-07-28", "mcp-method": "tools/list"}


def message(method: str, number: Any = 1, **params: Any) -> dict[str, Any]:
    identified = {} if number is None else {"id": number}
    return {"jsonrpc": "2.0", **identified, "method": method, "params": params}


class FakeServer:
    """An MCP server over HTTP, with pages of one tool. `answer` may take the place of its answers by method."""

    def __init__(self, *tools: str, revision: str = "2025-11-25", events: bool = False) -> None:
        self.tools, self.revision, self.events = tools, revision, events
        self.received: list[tuple[str, Any, dict[str, str]]] = []
        self.answers: dict[str, Callable[[Any], Awaitable[web.StreamResponse]]] = {}
        self.url = ""

    def methods(self) -> list[str]:
        return [document["method"] if document else verb for verb, document, _ in self.received]

    def result(self, document: Any) -> Any:
        match document["method"]:
            case "initialize":
                capabilities = {"tools": {"listChanged": True}, "logging": {}}
                return {"protocolVersion": self.revision, "capabilities": capabilities, "instructions": "Be kind."}
            case "tools/list":
                at = int(document["params"].get("cursor", "0"))
                more = {"nextCursor": str(at + 1)} if at + 1 < len(self.tools) else {}
                return {"tools": [{"name": name} for name in self.tools[at : at + 1]]} | more
        return None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        document = await request.json() if request.can_read_body else None
        self.received.append(
            (request.method, document, {name.lower(): value for name, value in request.headers.items()})
        )
        if document is None or "id" not in document:
            return web.Response(status=200 if document is None else 202)
        if document["method"] in self.answers:
            return await self.answers[document["method"]](document)
        result = self.result(document)
        error = {"error": {"code": -32601, "message": "no"}}
        answer = {"jsonrpc": "2.0", "id": document["id"]} | (error if result is None else {"result": result})
        headers = {"mcp-session-id": f"session-{self.tools[0]}"} if document["method"] == "initialize" else {}
        if self.events:
            note = b'data: {"jsonrpc":"2.0","method":"notifications/message","params":{}}\n\n'
            body = note + b"data: %s\n\n" % json.dumps(answer).encode()
            return web.Response(body=body, headers={"content-type": EVENTS} | headers)
        return web.json_response(answer, headers=headers)


@asynccontextmanager
async def running(**servers: FakeServer) -> AsyncIterator[Any]:
    """Parameters with these servers, which listen."""
    async with AsyncExitStack() as stack:
        for server in servers.values():
            app = web.Application()
            app.router.add_route("*", "/mcp", server.handle)
            runner = web.AppRunner(app, shutdown_timeout=0.01, handler_cancellation=True)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/mcp"
        yield [{"name": name, "url": server.url} for name, server in servers.items()]


async def send(params: dict[str, Any], sent: Any, method: str = "POST", **headers: str) -> Any:
    """What the policy does with a message."""
    values = testing.params(policy, **params)
    lines = {name.replace("_", "-"): value for name, value in headers.items()}
    body = None
    if sent is not None:
        lines = {"content-type": JSON} | lines
        body = sent if isinstance(sent, bytes) else json.dumps(sent).encode()
    async with testing.prepared(policy, values) as made:
        context = testing.request(
            method, "/tools/mcp", headers=lines, body=body, prepared=made, api_context="/tools", timeout=30
        )
        return await policy.on_request(context, values)


def ask_all(servers: dict[str, FakeServer], *asked: tuple[Any, dict[str, str]], **more: Any) -> list[Any]:
    """What the policy does with messages, one after the other, in the session that the first one begins."""

    async def run() -> list[Any]:
        async with running(**servers) as listed:
            answers = []
            session: dict[str, str] = {}
            for sent, headers in asked:
                method = headers.pop("verb", "POST")
                answers.append(await send({"servers": listed, **more}, sent, method, **session, **headers))
                if not session and isinstance(answers[0], ImmediateResponse) and "mcp-session-id" in answers[0].headers:
                    session = {"mcp_session_id": str(answers[0].headers["mcp-session-id"])}
            return answers

    return asyncio.run(run())


def result_of(answer: Any) -> Any:
    assert isinstance(answer, ImmediateResponse), answer
    assert answer.status_code == 200, answer.body
    return json.loads(answer.body)["result"]


def error_of(answer: Any) -> tuple[int, int]:
    assert isinstance(answer, ImmediateResponse), answer
    return answer.status_code, json.loads(answer.body)["error"]["code"]


Asked = tuple[Any, dict[str, str]]
INITIALIZE: Asked = (message("initialize", protocolVersion="2025-11-25", capabilities={"sampling": {}}), {})
LIST: Asked = (message("tools/list", "b"), {})


async def fail(_: Any) -> web.StreamResponse:
    return web.Response(status=503)


# ------------------------------------------------------------------ sessions


def test_a_session_is_begun_at_each_server_and_its_id_has_theirs() -> None:
    servers = {"github": FakeServer("a"), "jira": FakeServer("b", revision="2025-06-18", events=True)}
    (answer,) = ask_all(servers, INITIALIZE)
    assert result_of(answer) == {
        "protocolVersion": "2025-06-18",
        "capabilities": {"tools": {}},
        "serverInfo": {"name": "gatewright", "version": "1"},
        "instructions": "github: Be kind.\n\njira: Be kind.",
    }
    assert policy.read_id(answer.headers["mcp-session-id"]) == {
        "github": Session("2025-11-25", "session-a"),
        "jira": Session("2025-06-18", "session-b"),
    }
    assert servers["jira"].received[0][1]["params"]["capabilities"] == {"sampling": {}}


def test_later_messages_go_to_all_servers_with_their_own_sessions() -> None:
    servers = {"github": FakeServer("a"), "jira": FakeServer("b", revision="2025-06-18")}
    initialized: Asked = (message("notifications/initialized", None), {})
    answers = ask_all(servers, INITIALIZE, initialized, LIST, (None, {"verb": "DELETE"}))
    assert [answer.status_code for answer in answers] == [200, 202, 200, 204]
    for server, revision in ((servers["github"], "2025-11-25"), (servers["jira"], "2025-06-18")):
        assert server.methods() == ["initialize", "notifications/initialized", "tools/list", "DELETE"]
        for _, _, headers in server.received[1:]:
            assert (headers["mcp-session-id"], headers["mcp-protocol-version"]) == (
                f"session-{server.tools[0]}",
                revision,
            )


@pytest.mark.parametrize(
    ("choice", "sent", "received"),
    [("pass", "Bearer c", "Bearer c"), ("remove", "Bearer c", None), ("pass", "Bearer \udcff", None)],
)
def test_the_clients_credentials_go_on_by_choice(choice: str, sent: str, received: str | None) -> None:
    server = FakeServer("a")
    ask_all({"github": server}, (INITIALIZE[0], {"authorization": sent}), clientCredentials=choice)
    assert server.received[0][2].get("authorization") == received


def test_a_session_begins_without_a_server_that_is_away() -> None:
    servers = {"github": FakeServer("a"), "jira": FakeServer("b")}
    servers["jira"].answers["initialize"] = fail
    call: Asked = (message("tools/call", name="jira__b"), {})
    answer, listed, called = ask_all(servers, INITIALIZE, LIST, call)
    assert result_of(answer)["_meta"] == {"gatewright.dev/missing": [{"server": "jira", "reason": "status 503"}]}
    assert result_of(listed)["_meta"] == {"gatewright.dev/missing": [{"server": "jira", "reason": "no session"}]}
    assert json.loads(called.body)["error"]["message"].startswith("The server jira did not answer as the session began")


def test_no_session_begins_without_any_server() -> None:
    server = FakeServer("a", revision="2026-07-28")
    (answer,) = ask_all({"github": server}, INITIALIZE)
    error = json.loads(answer.body)["error"]
    assert (error["code"], error["message"]) == (-32603, "No server answered")
    assert error["data"] == {"gatewright.dev/missing": [{"server": "github", "reason": "revision"}]}


def test_a_session_that_one_server_has_lost_is_lost() -> None:
    servers = {"github": FakeServer("a"), "jira": FakeServer("b")}

    async def lose(_: Any) -> web.StreamResponse:
        return web.Response(status=404)

    servers["jira"].answers["tools/list"] = lose
    assert error_of(ask_all(servers, INITIALIZE, LIST)[1]) == (404, -32600)


def encode(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "number",
    [
        *("", "x", "....", "a b", "é", "A" * 20_000, encode([]), encode({}), encode({"github": "a"}), encode(1)),
        *(encode({"github": ["2025-11-25", "a\r\nb"]}), encode({"github": ["2025-11-25", 1]})),
        *(encode({"github": ["1999-01-01", "a"]}), encode({"github": ["2025-11-25", "a", "b"]})),
        *(encode({"github": [["2025-11-25"], "a"]}), encode({"other": ["2025-11-25", "a"]})),
        encode({"github": ["2025-11-25", "a"]}) + "=",
    ],
)
def test_an_id_that_is_none_of_ours_is_a_lost_session(number: str) -> None:
    servers = [{"name": "github", "url": "http://127.0.0.1:1/mcp"}]
    answer = asyncio.run(send({"servers": servers}, LIST[0], mcp_session_id=number))
    assert error_of(answer) == (404, -32600)


@given(st.text() | st.binary().map(lambda value: base64.urlsafe_b64encode(value).decode().rstrip("=")))
def test_any_id_is_read_or_none(number: str) -> None:
    found = policy.read_id(number)
    assert found is None or policy.to_id(found) == number


def test_a_request_without_a_session_is_refused() -> None:
    servers = [{"name": "github", "url": "http://127.0.0.1:1/mcp"}]
    assert error_of(asyncio.run(send({"servers": servers}, LIST[0]))) == (400, -32600)
    assert error_of(asyncio.run(send({"servers": servers}, None, "GET"))) == (405, -32600)
    assert error_of(asyncio.run(send({"servers": servers}, b"{"))) == (400, -32700)


# ------------------------------------------------------------------ lists


@pytest.mark.parametrize("events", [False, True])
def test_lists_are_merged_with_prefixes_and_all_their_pages(events: bool) -> None:
    servers = {"github": FakeServer("a", "b", events=events), "jira": FakeServer("c", events=events)}
    _, listed = ask_all(servers, INITIALIZE, LIST)
    assert result_of(listed) == {"tools": [{"name": "github__a"}, {"name": "github__b"}, {"name": "jira__c"}]}
    prompts: Asked = (message("prompts/list"), {})
    assert result_of(ask_all(servers, INITIALIZE, prompts)[1]) == {"prompts": []}


async def cut(_: Any) -> web.StreamResponse:
    return web.Response(text="{", content_type=JSON)


async def long(_: Any) -> web.StreamResponse:
    return web.Response(text="[" + " " * 5000 + "]", content_type=JSON)


async def refuse(document: Any) -> web.StreamResponse:
    return web.json_response({"jsonrpc": "2.0", "id": document["id"], "error": {"code": -32000, "message": "secret"}})


async def repeat(document: Any) -> web.StreamResponse:
    return web.json_response({"jsonrpc": "2.0", "id": document["id"], "result": {"tools": [], "nextCursor": "1"}})


async def hang(_: Any) -> web.StreamResponse:
    await asyncio.Event().wait()  # until the server ends
    raise AssertionError


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (fail, "status 503"),
        (cut, "no answer"),
        (long, "answer too long"),
        (refuse, "error"),
        (repeat, "pages beyond 50"),
        (hang, "timeout"),
    ],
)
def test_a_server_that_gives_no_list_is_named_and_the_others_are_listed(answer: Any, reason: str) -> None:
    testing.reset_metrics(policy)
    servers = {"github": FakeServer("a"), "jira": FakeServer("b")}
    servers["jira"].answers["tools/list"] = answer
    bounds = {"timeoutMilliseconds": 1000 if answer is hang else 20_000, "maxAnswerBytes": 4096}
    _, listed = ask_all(servers, INITIALIZE, LIST, **bounds)
    missing = {"gatewright.dev/missing": [{"server": "jira", "reason": reason}]}
    assert result_of(listed) == {"tools": [{"name": "github__a"}], "_meta": missing}
    assert testing.metric(policy, "mcp_servers_unanswered_total").value(server="jira", reason=reason.split()[0]) == 1


def test_a_server_that_is_not_there_is_named() -> None:
    servers = [{"name": "github", "url": "http://127.0.0.1:1/mcp"}]
    number = policy.to_id({"github": Session("2025-11-25", "s")})
    answer = asyncio.run(send({"servers": servers}, LIST[0], mcp_session_id=number))
    error = json.loads(answer.body)["error"]
    assert error["data"] == {"gatewright.dev/missing": [{"server": "github", "reason": "connection"}]}


def test_items_without_a_name_are_no_items() -> None:
    server = FakeServer("a")

    async def odd(document: Any) -> web.StreamResponse:
        tools = [{"name": "a", "title": "A"}, {"name": 1}, "b", None, {}]
        return web.json_response({"jsonrpc": "2.0", "id": document["id"], "result": {"tools": tools}})

    server.answers["tools/list"] = odd
    assert result_of(ask_all({"x": server}, INITIALIZE, LIST)[1]) == {"tools": [{"name": "x__a", "title": "A"}]}


def test_the_stateless_revision_needs_no_session() -> None:
    servers = {"github": FakeServer("a", "b"), "jira": FakeServer("c")}
    headers = {name.replace("-", "_"): value for name, value in STATELESS.items()}
    (listed,) = ask_all(servers, (message("tools/list", _meta=META), headers))
    result = result_of(listed)
    assert [tool["name"] for tool in result["tools"]] == ["github__a", "github__b", "jira__c"]
    assert result["resultType"] == "complete"
    for _, document, sent in servers["github"].received:
        assert document["params"]["_meta"] == META
        assert {name: sent[name] for name in STATELESS} == STATELESS
        assert "mcp-session-id" not in sent
    discover = message("server/discover", _meta=META)
    (found,) = ask_all(servers, (discover, headers | {"mcp_method": "server/discover"}))
    assert result_of(found)["capabilities"] == {"tools": {}, "prompts": {}}


# ------------------------------------------------------------------ calls

OF_TWO: list[dict[str, Any]] = [
    {
        "name": "github",
        "url": "http://a.internal:8000/mcp",
        "headers": [{"name": "Authorization", "value": "Bearer g"}],
    },
    {"name": "jira", "url": "http://b.internal/", "prefix": "tickets", "upstream": "pool", "path": "/v1/mcp"},
]
NUMBER = policy.to_id({"github": Session("2025-11-25", "one"), "jira": Session("2025-06-18", "")})


def call(name: str, method: str = "tools/call", **headers: str) -> Any:
    lines = {"mcp_session_id": NUMBER, "authorization": "Bearer client", "cookie": "a=b"} | headers
    servers = [
        {
            **server,
            "headers": [{**header, "value": testing.secret(header["value"])} for header in server.get("headers", [])],
        }
        for server in OF_TWO
    ]
    return asyncio.run(send({"servers": servers}, message(method, "n", name=name, arguments={"é": 1}), **lines))


def test_a_call_goes_to_the_server_of_its_prefix() -> None:
    action = call("github__create_issue")
    assert isinstance(action, UpstreamRequestModifications)
    assert (action.upstream, action.path, action.query) == ("github", "/tools/mcp", "")
    assert json.loads(action.body or "") == message("tools/call", "n", name="create_issue", arguments={"é": 1})
    assert set(action.remove_headers) == {"mcp-session-id", "authorization", "cookie"}
    own = {"mcp-protocol-version": "2025-11-25", "mcp-session-id": "one", "authorization": "Bearer g"}
    assert dict(action.set_headers) == own
    other = call("tickets__a__b", "prompts/get")
    assert isinstance(other, UpstreamRequestModifications)
    assert (other.upstream, other.path) == ("pool", "/tools/v1/mcp")
    assert json.loads(other.body or "")["params"]["name"] == "a__b"
    assert dict(other.set_headers) == {"mcp-protocol-version": "2025-06-18"}


@pytest.mark.parametrize("name", ["github", "github__", "create_issue", "GitHub__a", "jira__a", "__a", "tickets_a"])
def test_a_name_of_no_server_is_unknown(name: str) -> None:
    assert error_of(call(name)) == (200, -32602)


@pytest.mark.parametrize("method", ["resources/list", "completion/complete", "logging/setLevel", "tools/install"])
def test_what_is_not_merged_is_unknown(method: str) -> None:
    params = {"ref": {"type": "ref/prompt", "name": "x"}} if method == "completion/complete" else {}
    answer = asyncio.run(send({"servers": OF_TWO[1:]}, message(method, **params), mcp_session_id=NUMBER))
    assert error_of(answer) == (200, -32601)


def test_a_call_of_the_stateless_revision_has_the_servers_name_in_its_header() -> None:
    lines = {"mcp_protocol_version": "2026-07-28", "mcp_method": "tools/call", "mcp_name": "tickets__a"}
    document = message("tools/call", name="tickets__a", arguments={}, _meta=META)
    action = asyncio.run(send({"servers": OF_TWO[1:]}, document, **lines))
    assert isinstance(action, UpstreamRequestModifications)
    assert dict(action.set_headers) == {"mcp-name": "a"}


@pytest.mark.parametrize(
    ("servers", "text"),
    [
        ([{"name": "a", "url": "http://a"}] * 2, "a name of its own for each, got a twice"),
        ([{"name": "a", "url": "http://a"}, {"name": "a__b", "url": "http://b"}], "got a__b__ and a__; a tool"),
        (
            [{"name": "a", "url": "http://a"}, {"name": "b", "prefix": "a", "url": "http://b"}],
            "a tool could be of both",
        ),
        ([{"name": "a", "url": "ftp://a"}], "a URL of http or https without a query"),
        ([{"name": "a b", "url": "http://a"}], "1 to 32 letters"),
        ([], "servers"),
    ],
)
def test_mistakes_of_parameters_are_refused(servers: Any, text: str) -> None:
    with pytest.raises(ValueError, match=r".") as refusal:
        asyncio.run(send({"servers": servers}, LIST[0]))
    assert text in str(refusal.value)


def test_a_secret_that_is_no_header_is_refused() -> None:
    header = {"name": "x", "value": testing.secret("a\nb")}
    with pytest.raises(ValueError, match="github: expected printable ASCII characters in x"):
        asyncio.run(send({"servers": [{**OF_TWO[0], "headers": [header]}]}, LIST[0]))


# ------------------------------------------------------------------ answers


def answered(body: bytes, kind: str, note: Any = ..., sizes: Any = ()) -> Any:
    metadata = {} if note is None else {"mcp-servers": {"server": "github"}}
    response = testing.response(200, headers={"content-type": kind}, request=testing.request(metadata=metadata))
    values = testing.params(policy, servers=OF_TWO[1:])
    return testing.run_stream(policy.on_response_stream, testing.stream(body, sizes=sizes), ctx=response, params=values)


def event(document: Any) -> bytes:
    return b"event: message\ndata: %s\n\n" % json.dumps(document, separators=(",", ":")).encode()


@pytest.mark.parametrize("number", [7, "x", "é:1"])
def test_a_request_of_a_server_finds_its_way_back(number: Any) -> None:
    asked = event(message("sampling/createMessage", number))
    notification, result = (
        event(message("notifications/progress", None)),
        event({"jsonrpc": "2.0", "id": 1, "result": {}}),
    )
    got = answered(asked + notification + result, EVENTS, sizes=[5] * 10)
    assert got.chunks[0] == b""
    assert got.body.endswith(notification + result)
    first = json.loads(got.body.split(b"\n\n")[0].split(b"data: ")[1])
    assert first["id"] == f"github:{json.dumps(number)}"
    reply = {"jsonrpc": "2.0", "id": first["id"], "result": {"role": "user"}}
    action = asyncio.run(
        send({"servers": [{"name": "github", "url": "http://a/mcp"}]}, reply, mcp_session_id=encode_one())
    )
    assert isinstance(action, UpstreamRequestModifications)
    assert (action.upstream, json.loads(action.body or "")["id"]) == ("github", number)


def encode_one() -> str:
    number: str = policy.to_id({"github": Session("2025-11-25", "one")})
    return number


@pytest.mark.parametrize("number", ["other:1", "github", "github:", "github:x", "github:[1]", "github:1.5", 5, ":1"])
def test_an_answer_to_no_request_is_refused(number: Any) -> None:
    reply = {"jsonrpc": "2.0", "id": number, "result": {}}
    servers = [{"name": "github", "url": "http://a/mcp"}]
    assert error_of(asyncio.run(send({"servers": servers}, reply, mcp_session_id=encode_one()))) == (400, -32600)


def test_other_answers_pass_as_they_came() -> None:
    body = b'{"jsonrpc": "2.0",  "id": 1, "method": "x"}'
    assert answered(body, JSON).body == body
    assert answered(event(message("x")), EVENTS, note=None).body == event(message("x"))
    assert answered(b"data: {\n\n", EVENTS).rejected is not None


def test_a_servers_session_is_not_the_clients() -> None:
    metadata = {"mcp-servers": {"server": "github"}}
    response = testing.response(200, headers={"mcp-session-id": "s"}, request=testing.request(metadata=metadata))
    action = policy.on_response(response, {})
    assert isinstance(action, UpstreamResponseModifications)
    assert list(action.remove_headers) == ["mcp-session-id"]
    assert policy.on_response(testing.response(200, headers={"mcp-session-id": "s"}), {}) is None
