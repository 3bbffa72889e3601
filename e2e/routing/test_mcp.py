"""MCP passes unharmed: the official SDK's client and server, with the API of docs/how-to/mcp.md between them."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
import yaml

from e2e.kit.gateway import Gateway, Json, fresh_name
from e2e.kit.markdown import blocks, page
from e2e.kit.mcp import ACCEPTED, LEGACY, STATELESS, Session, events, message, run_client, running_server

MODES = [LEGACY, STATELESS]
SHOWN = "http://tools.internal:8000"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with running_server() as url:
        yield url


@pytest.fixture(scope="module")
def json_server() -> Iterator[str]:
    with running_server("server.py", "--json") as url:
        yield url


def shown_api(name: str, url: str) -> Json:
    """The API of the page at another path, before our server; for its other operations a second is too long."""
    text = blocks(page("docs/how-to/mcp.md"), "yaml")[0]
    assert SHOWN in text
    document: Json = yaml.safe_load(text.replace(SHOWN, url))
    document["metadata"]["name"] = name
    document["spec"] |= {"context": f"/{name}", "requestTimeout": "1s", "idleTimeout": "1s"}
    return document


def deploy(gateway: Gateway, url: str) -> str:
    """The MCP server's address at the gateway."""
    name = fresh_name("mcp")
    gateway.deploy(shown_api(name, url))
    return f"{gateway.url}/{name}/mcp"


@pytest.mark.parametrize("mode", MODES)
def test_a_client_gets_the_same_through_the_gateway(gateway: Gateway, server: str, mode: str) -> None:
    """Progress comes before a call's end: a client that gets it late never ends that call."""
    direct = run_client(f"{server}/mcp", mode, "everything")
    assert run_client(deploy(gateway, server), mode, "everything") == direct


@pytest.mark.parametrize("mode", MODES)
def test_answers_that_are_json_are_the_same(gateway: Gateway, json_server: str, mode: str) -> None:
    direct = run_client(f"{json_server}/mcp", mode, "call")
    assert run_client(deploy(gateway, json_server), mode, "call") == direct


@pytest.mark.parametrize("mode", MODES)
def test_a_call_may_be_silent_for_longer_than_other_requests(gateway: Gateway, json_server: str, mode: str) -> None:
    url = deploy(gateway, json_server)
    assert run_client(url, mode, "long_call")["content"] == [{"type": "text", "text": "here"}]


@pytest.mark.parametrize("mode", MODES)
def test_a_notification_comes_after_a_pause(gateway: Gateway, server: str, mode: str) -> None:
    """Longer than the API's own timeouts allow."""
    assert run_client(deploy(gateway, server), mode, "hear").startswith("heard")


def test_without_timeouts_of_its_own_a_stream_is_cut(gateway: Gateway, server: str) -> None:
    """What the page says of defaults, and why the test before is one."""
    name = fresh_name("mcp")
    document = shown_api(name, server)
    for operation in document["spec"]["operations"]:
        for setting in ("requestTimeout", "idleTimeout"):
            operation.pop(setting, None)
    gateway.deploy(document)
    with httpx.Client(timeout=30) as client:
        session = Session(client, f"{gateway.url}/{name}/mcp")
        with session.stream() as answer:
            assert answer.status_code == 200
            with pytest.raises(httpx.RemoteProtocolError):
                answer.read()


def test_a_stream_resumes_behind_its_last_event(gateway: Gateway, server: str) -> None:
    """By the id of the last event: what was sent meanwhile comes, and what came before does not come again."""
    with httpx.Client(timeout=30) as client:
        session = Session(client, deploy(gateway, server))
        with session.stream() as answer:
            assert session.call("announce", {"seconds": 0}).status_code == 200
            first, announced = next(events(answer.iter_lines()))
        for _ in range(2):
            session.call("announce", {"seconds": 0})
        with session.stream(last_event_id=first) as answer:
            assert answer.status_code == 200
            resumed = events(answer.iter_lines())
            missed = [next(resumed), next(resumed)]
    assert announced["method"] == "notifications/tools/list_changed"
    assert [document for _, document in missed] == [announced, announced]
    assert len({first, *(number for number, _ in missed)}) == 3


def test_a_lost_session_is_a_404_for_the_client(gateway: Gateway, server: str) -> None:
    """The client then begins a new one: whether it was deleted, or was never there."""
    with httpx.Client(timeout=30) as client:
        session = Session(client, deploy(gateway, server))
        assert session.call("add", {"a": 1, "b": 2}).status_code == 200
        assert client.delete(session.url, headers=session.headers).status_code == 200
        for lost in (session.headers, session.headers | {"mcp-session-id": "f" * 32}):
            answers = [client.post(url, json=message("ping"), headers=lost) for url in (f"{server}/mcp", session.url)]
            assert [answer.status_code for answer in answers] == [404, 404]
            assert answers[0].json() == answers[1].json()
        assert Session(client, session.url).call("add", {"a": 1, "b": 2}).status_code == 200


def test_refusals_of_the_server_are_its_own(gateway: Gateway, server: str) -> None:
    """Requests that no MCP server takes: status, content type and body come from the server."""
    url = deploy(gateway, server)
    wrong: list[tuple[bytes, dict[str, str]]] = [
        (b"{", {}),
        (b"{}", {}),
        (b"[]", {}),
        (b"{}", {"accept": "text/html"}),
        (b"{}", {"content-type": "text/plain"}),
        (b"{}", {"mcp-protocol-version": "1999-01-01"}),
    ]
    with httpx.Client(timeout=30) as client:
        for body, more in wrong:
            direct, through = (client.post(at, content=body, headers=ACCEPTED | more) for at in (f"{server}/mcp", url))
            seen = [
                (answer.status_code, answer.headers.get("content-type"), answer.content) for answer in (direct, through)
            ]
            assert seen[0] == seen[1], (body, more)
            assert direct.status_code >= 400
