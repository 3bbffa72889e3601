import json
from typing import Any

import pytest
from gatewright import mcp, testing
from gatewright.policy import ImmediateResponse

STATELESS = "2026-07-28"
META = {
    "io.modelcontextprotocol/protocolVersion": STATELESS,
    "io.modelcontextprotocol/clientCapabilities": {},
}
SERVER = mcp.Server("orders", "1.2", "Ask for an order first.")


def message(method: str, number: Any = 1, **params: Any) -> dict[str, Any]:
    identified = {} if number is None else {"id": number}
    return {"jsonrpc": "2.0", **identified, "method": method, "params": params}


def read(document: Any, method: str = "POST", **headers: str) -> Any:
    lines = {"content-type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
    body = document if isinstance(document, bytes | None) else json.dumps(document).encode()
    return mcp.read_request(testing.request(method, "/mcp", headers=lines, body=body))


def read_stateless(document: dict[str, Any], **headers: str) -> Any:
    document["params"] = {"_meta": META} | document["params"]
    lines = {"mcp_protocol_version": STATELESS, "mcp_method": document["method"]} | headers
    return read(document, **{name: value for name, value in lines.items() if value})


def asked(found: Any) -> mcp.Asked:
    assert isinstance(found, mcp.Asked), found
    return found


def error(answer: Any) -> tuple[int, Any, int]:
    assert isinstance(answer, ImmediateResponse)
    document = json.loads(answer.body)
    return answer.status_code, document["id"], document["error"]["code"]


def result(answer: ImmediateResponse | None) -> Any:
    assert answer is not None
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    return json.loads(answer.body)["result"]


@pytest.mark.parametrize("revision", ["", *mcp.SESSION_REVISIONS])
def test_a_request_of_a_session_needs_no_more_than_a_known_revision(revision: str) -> None:
    found = asked(read(message("tools/list", "a"), **({"mcp_protocol_version": revision} if revision else {})))
    assert (found.message.method, found.reply.id) == ("tools/list", "a")
    assert not found.reply.is_stateless
    assert result(found.reply.listing({"tools": []})) == {"tools": []}


@pytest.mark.parametrize(
    ("asked_for", "agreed"),
    [*[(revision, revision) for revision in mcp.SESSION_REVISIONS], *[(bad, "2025-11-25") for bad in ("1", STATELESS)]],
)
def test_a_session_begins_with_a_revision_that_both_know(asked_for: str, agreed: str) -> None:
    answer = SERVER.answer(asked(read(message("initialize", protocolVersion=asked_for))))
    assert result(answer) == {
        "protocolVersion": agreed,
        "capabilities": {"tools": {}},
        "serverInfo": {"name": "orders", "version": "1.2"},
        "instructions": "Ask for an order first.",
    }


def test_a_server_answers_the_methods_of_a_revision() -> None:
    assert result(SERVER.answer(asked(read(message("ping"))))) == {}
    discovered = result(SERVER.answer(asked(read_stateless(message("server/discover")))))
    assert discovered["supportedVersions"] == [STATELESS]
    assert discovered["_meta"] == {"io.modelcontextprotocol/serverInfo": {"name": "orders", "version": "1.2"}}
    assert (discovered["resultType"], discovered["ttlMs"], discovered["cacheScope"]) == ("complete", 0, "private")
    assert SERVER.answer(asked(read(message("server/discover")))) is None
    assert SERVER.answer(asked(read_stateless(message("ping")))) is None
    assert SERVER.answer(asked(read(message("tools/list")))) is None


def test_results_and_errors_are_those_of_the_revision() -> None:
    session, stateless = asked(read(message("x"))).reply, asked(read_stateless(message("x"))).reply
    assert result(session.result({"a": 1})) == {"a": 1}
    assert result(stateless.result({"a": 1})) == {"a": 1, "resultType": "complete"}
    assert error(session.unknown_method("x")) == (200, 1, -32601)
    assert error(stateless.unknown_method("x")) == (404, 1, -32601)
    assert error(stateless.error(mcp.INVALID_PARAMS, "no")) == (400, 1, -32602)
    assert error(stateless.error(mcp.INTERNAL_ERROR, "no")) == (200, 1, -32603)


def test_a_notification_or_an_answer_is_accepted() -> None:
    for document in (message("notifications/initialized", None), {"jsonrpc": "2.0", "id": 1, "result": {}}):
        answer = read(document)
        assert (answer.status_code, answer.body) == (202, b"")


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT", "HEAD"])
def test_other_methods_of_http_are_not_allowed(method: str) -> None:
    answer = read(None, method)
    assert error(answer) == (405, None, -32600)
    assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize(
    ("document", "headers", "expected"),
    [
        (b"{", {}, (400, None, -32700)),
        (None, {}, (400, None, -32700)),
        ([message("ping")], {}, (400, None, -32600)),
        (message("ping"), {"content_type": "text/plain"}, (415, None, -32600)),
        (message("ping"), {"mcp_protocol_version": "1999-01-01"}, (400, 1, -32022)),
        (message("ping"), {"mcp_method": "tools/list"}, (400, None, -32020)),
        (message("ping", _meta=META), {"mcp_protocol_version": "2025-11-25"}, (400, 1, -32020)),
        (message("ping", _meta=META), {}, (400, 1, -32020)),
        (message("ping"), {"mcp_protocol_version": STATELESS, "mcp_method": "ping"}, (400, 1, -32602)),
        (message("ping", _meta=[]), {"mcp_protocol_version": STATELESS, "mcp_method": "ping"}, (400, 1, -32602)),
        (message("ping", _meta=META), {"mcp_protocol_version": STATELESS}, (400, 1, -32020)),
    ],
)
def test_what_is_no_request_is_refused(document: Any, headers: dict[str, str], expected: Any) -> None:
    assert error(read(document, **headers)) == expected


def test_the_stateless_revision_names_the_tool_in_a_header() -> None:
    call = message("tools/call", name="add")
    assert error(read_stateless(dict(call)))[2] == mcp.HEADER_MISMATCH
    assert error(read_stateless(dict(call), mcp_name="other"))[2] == mcp.HEADER_MISMATCH
    assert asked(read_stateless(dict(call), mcp_name="add")).message.targets[0].name == "add"


def test_several_revisions_are_none() -> None:
    lines = [("content-type", "application/json"), ("mcp-protocol-version", "2025-11-25")]
    lines.append(("mcp-protocol-version", "2025-06-18"))
    answer = mcp.read_request(testing.request("POST", "/mcp", headers=lines, body=json.dumps(message("ping")).encode()))
    assert error(answer) == (400, 1, -32022)


def test_a_refusal_has_its_status_and_what_the_access_log_gets() -> None:
    answer = mcp.refuse(mcp.Malformed(mcp.INVALID_REQUEST, "no", 415), analytics={"a": 1})
    assert (error(answer), answer.analytics_metadata) == ((415, None, -32600), {"a": 1})


def test_a_message_may_be_read_whichever_it_is() -> None:
    lines = {"content-type": "application/json"}
    body = json.dumps(message("notifications/initialized", None)).encode()
    found = mcp.read_message(testing.request("POST", "/mcp", headers=lines, body=body))
    assert isinstance(found, mcp.Message)
    assert (found.kind, found.method) == ("notification", "notifications/initialized")


@pytest.mark.parametrize("name", ["add", "a b", "größe", " a", "a\nb", "=?base64?YQ==?=", ""])
def test_a_name_in_a_header_is_read_as_it_was(name: str) -> None:
    value = mcp.header_value(name)
    assert value.isascii()
    assert value.isprintable()
    if name:
        document = message("tools/call", name=name) if "\n" not in name else None
        if document is not None:
            found = read(document, mcp_method="tools/call", mcp_name=value)
            assert asked(found).message.targets[0].name == name
