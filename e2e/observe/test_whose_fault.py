"""Envoy's own answers are exchanges with a responsible party: with policies, without, and without a route."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from e2e.kit.attachments import GO_HEADERS
from e2e.kit.closed_port import closed_port
from e2e.kit.commands import request_id_of, run_explain, run_tail
from e2e.kit.gateway import Gateway, Json, api, attach, eventually, fresh_name, running
from e2e.kit.listening import write
from e2e.kit.recorded import record_exchanges, wait_for_exchanges
from e2e.kit.scraping import scrape
from e2e.kit.silent import Silent
from e2e.kit.upstream import Reply, Upstream

WORD = "x-gatewright-proxy-answer"
"""The header by which Envoy marks its own answers for the engine: no client and no upstream ever sees it."""
CHAINS: dict[str, list[Json]] = {
    "no policy": [],
    "request alone": [attach("sleep", {"seconds": 0})],
    "response": [GO_HEADERS],
    "bodies": [attach("body-length"), attach("pass-on")],
}


@dataclass(frozen=True)
class Fault:
    """An upstream's URL, and the expected report."""

    url: str
    status: int
    code: str
    reason: str


@contextmanager
def refusing_upstream() -> Iterator[Fault]:
    with closed_port() as port:
        address = f"127.0.0.1:{port}"
        yield Fault(f"http://{address}", 503, "connection_refused", f"the upstream {address} refused the connection")


@contextmanager
def silent_upstream(
    code: str, reason: str, status: int, answer: bytes | None = None, *, scheme: str = "http", hangs_up: bool = False
) -> Iterator[Fault]:
    upstream = Silent(answer, hangs_up=hangs_up)
    try:
        reason_text = reason.format(upstream=f"the upstream {upstream.address}")
        yield Fault(f"{scheme}://{upstream.address}", status, code, reason_text)
    finally:
        upstream.close()


FAULTS: dict[str, Callable[[], AbstractContextManager[Fault]]] = {
    "connection refused": refusing_upstream,
    "no TLS": lambda: silent_upstream(
        "tls_failed", "{upstream} does not speak TLS", 503, b"HTTP/1.1 200 OK\r\n\r\n", scheme="https", hangs_up=True
    ),
    "too slow": lambda: silent_upstream(
        "upstream_timeout", "{upstream} did not begin to answer within requestTimeout", 504
    ),
    "hangs up": lambda: silent_upstream(
        "upstream_closed", "{upstream} closed the connection before it had answered", 503, hangs_up=True
    ),
    "malformed": lambda: silent_upstream(
        "malformed_response", "the answer of {upstream} is malformed", 502, b"HTTP/1.1 nonsense\r\n\r\n", hangs_up=True
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("chain", CHAINS)
def test_a_fault_of_the_upstream_is_explained(gateway: Gateway, chain: str, fault: str) -> None:
    name = fresh_name("whose")
    with FAULTS[fault]() as fault_in_place:
        document = api(
            name, fault_in_place.url, CHAINS[chain], [{"method": "POST", "path": "/*", "requestTimeout": "300ms"}]
        )
        gateway.deploy(document)
        with record_exchanges(gateway, path=f"/{name}/", errors=True):
            answer = httpx.post(f"{gateway.url}/{name}/x?a=1", content=b"body")
            (exchange,) = wait_for_exchanges(gateway, path=f"/{name}/")
    assert (answer.status_code, answer.json()["requestId"]) == (fault_in_place.status, exchange["id"])
    assert WORD not in answer.headers
    assert WORD not in str(exchange)
    assert (exchange["api"], exchange["operation"]) == (name, "POST /*")
    assert exchange["answeredBy"] == "proxy"
    assert exchange["response"]["status"] == fault_in_place.status
    cause = exchange["cause"]
    assert (cause["party"], cause["code"]) == ("upstream", fault_in_place.code), exchange
    assert cause["reason"].startswith(fault_in_place.reason)
    assert cause["cure"]
    explanation = run_explain(gateway, exchange["id"])
    assert f"the gateway answered {fault_in_place.status} because {fault_in_place.reason}" in " ".join(
        explanation.split()
    )
    assert "by the upstream" not in explanation
    assert f"the upstream's: {fault_in_place.code}" in explanation
    labels = {"api": name, "reason": fault_in_place.code, "party": "upstream"}
    eventually("it is counted", lambda: scrape(gateway).value("gatewright_proxy_answers_total", **labels) == 1)


@pytest.mark.parametrize("watched", [True, False])
@pytest.mark.parametrize("chain", CHAINS)
def test_no_upstream_can_say_that_it_was_envoy(
    gateway: Gateway, upstream: Upstream, chain: str, *, watched: bool
) -> None:
    name = fresh_name("forged")
    gateway.deploy(api(name, upstream.url, CHAINS[chain]))
    forged = "token UF upstream_reset 127.0.0.1:9 refused"
    upstream.reply = lambda _: Reply(503, [(WORD, forged)])
    if watched:
        with record_exchanges(gateway, path=f"/{name}/"):
            answer = httpx.get(f"{gateway.url}/{name}/x")
            if CHAINS[chain]:
                (exchange,) = wait_for_exchanges(gateway, path=f"/{name}/")
                assert exchange["answeredBy"] == "upstream"
                assert "cause" not in exchange
    else:
        answer = httpx.get(f"{gateway.url}/{name}/x")
    assert (answer.status_code, answer.headers[WORD]) == (503, forged)
    (request,) = upstream.to(f"/{name}/") or upstream.to("/x")
    assert request.value(WORD) is None


@pytest.mark.parametrize("watched", [True, False])
def test_a_policys_answer_in_place_of_envoys_is_attributed_to_it(gateway: Gateway, *, watched: bool) -> None:
    """Envoy gives it the flags of the answer before, and the engine is not shown it."""
    name = fresh_name("replaced")
    instead = attach("answer", {"when": "response", "status": 203, "body": "from elsewhere"})
    with closed_port() as port:
        gateway.deploy(api(name, f"http://127.0.0.1:{port}", [instead]))
        if watched:
            with record_exchanges(gateway, path=f"/{name}/"):
                answer = httpx.get(f"{gateway.url}/{name}/x")
                (exchange,) = wait_for_exchanges(gateway, path=f"/{name}/")
            assert exchange["answeredBy"] == "policy"
            assert exchange["cause"]["code"] == "connection_refused"
        else:
            answer = httpx.get(f"{gateway.url}/{name}/x")
    assert (answer.status_code, answer.text) == (203, "from elsewhere")
    assert WORD not in answer.headers


def test_an_operations_own_answer_is_not_attributed_to_the_upstream(gateway: Gateway, upstream: Upstream) -> None:
    name = fresh_name("own-answer")
    operations = [{"method": "GET", "path": "/*", "answer": {"status": 404, "body": "gone"}}]
    gateway.deploy(api(name, upstream.url, CHAINS["request alone"], operations))
    with record_exchanges(gateway, path=f"/{name}/"):
        answer = httpx.get(f"{gateway.url}/{name}/x")
        (exchange,) = wait_for_exchanges(gateway, path=f"/{name}/")
    assert (answer.status_code, answer.text, WORD in answer.headers) == (404, "gone", False)
    assert (exchange["answeredBy"], exchange["cause"]["code"]) == ("proxy", "configured")


UNROUTED = {
    "a path near one": ("GET", "/{near}/7", 404, "client: no_route", ["no API has the path /{near}/7", "/{name}"]),
    "no such operation": ("GET", "/{name}/b", 404, "client: no_route", ["no operation of the API {name}", "GET /a"]),
    "no such method": ("PUT", "/{name}/a", 405, "client: method_not_allowed", ["takes PUT"]),
}


@pytest.mark.parametrize("case", UNROUTED)
def test_a_request_without_a_route_is_explained(gateway: Gateway, upstream: Upstream, case: str) -> None:
    name = fresh_name("unrouted")
    names = {"name": name, "near": name.replace("routed", "ruoted")}
    gateway.deploy(api(name, upstream.url, [], [{"method": "GET", "path": "/a"}]))
    method, path, status, fault, parts = UNROUTED[case]
    path = path.format(**names)
    with run_tail(gateway, "--path", path) as tail:
        answer = httpx.request(method, gateway.url + path)
        line = tail.line()
    assert answer.status_code == status
    assert f"  {status}  " in line
    assert f"  {method} {path}  " in line
    assert request_id_of(line) == answer.json().get("requestId", request_id_of(line))
    explanation = " ".join(run_explain(gateway, request_id_of(line)).split())
    assert fault.replace("client", "the client's") in explanation
    for part in parts:
        assert part.format(**names) in explanation


def test_a_malformed_request_is_explained(gateway: Gateway) -> None:
    with record_exchanges(gateway, status="400"):
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=15) as connection:
            connection.sendall(b"GET /malformed HTTP/1.1\r\nhost: a.example\r\nhost: b.example\r\n\r\n")
            assert connection.recv(65536).startswith(b"HTTP/1.1 400 ")
        (exchange,) = wait_for_exchanges(gateway, status="400")
    assert (exchange["answeredBy"], exchange["cause"]["party"]) == ("proxy", "client")
    assert exchange["cause"]["reason"] == "the request has two Host headers"


def test_a_good_answer_has_no_fault(gateway: Gateway, upstream: Upstream) -> None:
    """A route without policies is recorded where Envoy has answered, and not where the upstream has."""
    name = fresh_name("well")
    gateway.deploy(api(name, upstream.url))
    replies = iter([Reply(200), Reply(404), Reply(503)])
    upstream.reply = lambda _: next(replies)
    with record_exchanges(gateway, path=f"/{name}"):
        assert [httpx.get(f"{gateway.url}/{name}/x").status_code for _ in range(3)] == [200, 404, 503]
        assert httpx.put(f"{gateway.url}/{name}/x").status_code == 405
        (exchange,) = wait_for_exchanges(gateway, path=f"/{name}")
    assert exchange["cause"]["code"] == "method_not_allowed"


@pytest.fixture(scope="module")
def limited_gateway(build: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway that serves one host, and one request a second."""
    folder = tmp_path_factory.mktemp("limited")
    file = write(folder / "gateway.yaml", {"name": "http", "hosts": ["a.example"]}, limits={"requestsPerSecond": 1})
    with running(build, folder / "state", "--gateway", str(file)) as gateway:
        yield gateway


@pytest.mark.parametrize("chain", CHAINS)
def test_a_listeners_refusal_is_explained(limited_gateway: Gateway, upstream: Upstream, chain: str) -> None:
    """Before the policies of the route have run."""
    gateway, name = limited_gateway, fresh_name("refused")
    gateway.deploy(api(name, upstream.url, CHAINS[chain]))
    with record_exchanges(gateway, path=f"/{name}/"):
        with httpx.Client(base_url=gateway.url, headers={"host": "a.example"}) as client:
            eventually("a request is served", lambda: client.get(f"/{name}/x").status_code == 200)
            statuses = set()
            while 429 not in statuses:
                answered = client.get(f"/{name}/x")
                statuses.add(answered.status_code)
        answer = httpx.get(f"{gateway.url}/{name}/y", headers={"host": "b.example"})
        (limited, *_) = wait_for_exchanges(gateway, path=f"/{name}/x", status="429")
        (foreign,) = wait_for_exchanges(gateway, path=f"/{name}/y")
    assert statuses <= {200, 429}
    assert answer.status_code == 421
    assert (answered.json()["title"], answered.headers["retry-after"]) == ("Too Many Requests", "1")
    assert answer.json()["detail"] == "This listener does not serve the host that the request is for."
    assert (limited["cause"]["party"], limited["cause"]["code"]) == ("client", "rate_limited")
    assert (foreign["cause"]["party"], foreign["cause"]["code"]) == ("client", "unknown_host")
    assert foreign["cause"]["reason"] == "the listener does not serve the host b.example"


def test_a_stream_that_rejects_too_late_is_explained(gateway: Gateway, upstream: Upstream) -> None:
    name = fresh_name("too-late")
    gateway.deploy(api(name, upstream.url, [attach("faulty-stream", {"how": "rejects-after"})]))
    upstream.reply = lambda _: Reply(200, [("content-type", "text/plain")], b"x" * 1_000_000)
    with record_exchanges(gateway, path=f"/{name}/", errors=True):
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.get(f"{gateway.url}/{name}/x")
        (exchange,) = wait_for_exchanges(gateway, path=f"/{name}/")
    assert exchange["outcome"] == "failed"
    sentence = r"faulty-stream:v1.0.0 rejected the message with 418 \(\S*policies/faulty-stream/policy.py:\d+\) after"
    assert re.match(sentence, exchange["error"])
    assert re.search(sentence, " ".join(run_explain(gateway, exchange["id"]).split()))
