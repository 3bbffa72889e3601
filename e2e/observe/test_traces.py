"""Traces of a running gateway, as OpenTelemetry's own collector has received them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from e2e.kit.collector import Collector, Span, collector
from e2e.kit.gateway import Gateway, Json, api, attach, eventually, running
from e2e.kit.gateway_settings import change_settings
from e2e.kit.policy_project import PolicyProject
from e2e.kit.upstream import Recorded, Reply, Upstream

CLIENT_TRACE, CLIENT_SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TOKEN, SECRET, TENANT = "only-the-operator-knows", "planted-secret-4711", "tenant-of-the-test"
RECORDS = """
    import asyncio

    from opentelemetry import trace

    tracer = trace.get_tracer("shop")


    async def on_request(ctx, params):
        with tracer.start_as_current_span("look up") as span:
            span.set_attribute("http.request.header.authorization", ctx.headers.get("authorization") or "")
            await asyncio.create_task(inner())


    async def inner():
        with tracer.start_as_current_span("ask"):
            pass


    def on_response(ctx, params):
        with tracer.start_as_current_span("price"):
            pass
"""
FAILS = f"""
    def on_request(ctx, params):
        raise ValueError("password={SECRET}")


    def on_response(ctx, params):
        return None
"""
PRESENTED = {"x-gatewright-trace": TOKEN}


def traceparent(sampled: bool, trace: str = CLIENT_TRACE) -> Json:
    return {"traceparent": f"00-{trace}-{CLIENT_SPAN}-0{int(sampled)}", "tracestate": "vendor=1"}


class Site:
    """A gateway, and the collector that its Gateway names."""

    def __init__(self, folder: Path, receiver: Collector) -> None:
        self.token, self.collector = folder / "token", receiver
        self.token.write_text(TOKEN + "\n")
        self.gateway: Gateway

    def change(self, **tracing: object) -> None:
        """The new settings count when this returns."""
        tracing = {"collector": f"127.0.0.1:{self.collector.grpc}", "sample": 1.0} | tracing
        change_settings(self.gateway, tracing=tracing)

    def get(self, path: str, headers: Json | None = None) -> httpx.Response:
        return httpx.get(f"{self.gateway.url}{path}", headers=headers)

    def trace(self, upstream: Upstream, path: str, spans: int, headers: Json | None = None) -> list[Span]:
        """The spans of one request, once the collector has so many; the trace is that of the upstream's headers."""
        before = len(upstream.received)
        self.get(path, headers)
        return self.spans(traceparent_of(upstream.received[before])[0], spans)

    def spans(self, trace: str, count: int) -> list[Span]:
        eventually(f"{count} spans of {trace} are received", lambda: len(self.collector.spans(trace)) >= count, 20)
        return self.collector.spans(trace)


def traceparent_of(request: Recorded) -> tuple[str, str, str]:
    """Trace, span and flags that a request came with."""
    match = re.fullmatch(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})", request.value("traceparent") or "none")
    assert match, request.headers
    return match[1], match[2], match[3]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("traces")


@pytest.fixture(scope="module")
def site(folder: Path) -> Iterator[Site]:
    with collector(folder) as receiver, run_site(folder, receiver) as traced_site:
        yield traced_site


@contextmanager
def run_site(folder: Path, receiver: Collector) -> Iterator[Site]:
    project = PolicyProject(folder, "e2e-traces", go=("add-headers",))
    project.write_policy("records-spans", RECORDS, requirements_txt="opentelemetry-sdk>=1.30\n")
    project.write_policy("fails", FAILS)
    traced_site = Site(folder, receiver)
    with running(None, folder / "state", *project.arguments) as traced_site.gateway:
        traced_site.change()
        yield traced_site


@pytest.fixture
def settings(site: Site) -> Iterator[Site]:
    """For a test that writes other settings: restores the first ones afterwards."""
    yield site
    site.change()


def go_python_go(name: str, upstream: Upstream) -> Json:
    def marks(position: str) -> Json:
        return attach("add-headers", {"requestHeaders": [{"name": f"X-Go-{position}", "value": "1"}],
                                      "responseHeaders": [{"name": f"X-Go-{position}", "value": "1"}]})  # fmt: skip

    return api(name, upstream.url, [marks("First"), attach("records-spans"), marks("Last")])


def spans_by_name(spans: list[Span]) -> dict[str, Span]:
    span_by_name = {span.name: span for span in spans}
    assert len({span.id for span in spans}) == len(spans), "each span once"
    return span_by_name


# ---------------------------------------------------------------- what a trace is


def test_a_go_python_go_chain_has_a_span_for_each_execution(site: Site, upstream: Upstream) -> None:
    """One trace: executions and the upstream's span are the exchange's children, a policy's own its execution's."""
    site.gateway.deploy(go_python_go("gpg", upstream))
    spans = site.trace(upstream, "/gpg/orders/1?page=2", 11, {"authorization": f"Bearer {SECRET}"})
    sent = upstream.received[-1]
    span_by_name = spans_by_name([span for span in spans if not span.name.startswith("add-headers")])
    exchange = span_by_name["gpg GET /*"]
    assert (exchange.kind, exchange.parent, exchange.error) == ("server", "", None)
    go = [span for span in spans if span.name.startswith("add-headers")]
    assert [span.name.split()[1] for span in sorted(go, key=lambda span: span.start)] == ["request"] * 2 + [
        "response"
    ] * 2
    request, response = span_by_name["records-spans:v1.0.0 request"], span_by_name["records-spans:v1.0.0 response"]
    to_upstream = span_by_name["upstream GET"]
    for child in (*go, request, response, to_upstream):
        assert (child.trace, child.parent) == (exchange.trace, exchange.id), child
        assert exchange.start <= child.start, child
        assert child.end <= exchange.end, child
    assert to_upstream.kind == "client"
    assert request.end <= to_upstream.start
    assert to_upstream.start <= response.start, "its end may come later: the policy reads the head alone"
    assert (span_by_name["look up"].parent, span_by_name["price"].parent) == (request.id, response.id)
    assert span_by_name["ask"].parent == span_by_name["look up"].id
    assert traceparent_of(sent) == (exchange.trace, to_upstream.id, "01")
    assert len(spans) == 11
    assert {span.resource["service.name"] for span in spans} == {"gatewright"}


def test_spans_have_the_attributes_of_the_request(site: Site, upstream: Upstream) -> None:
    site.gateway.deploy(go_python_go("says", upstream))
    upstream.reply = lambda _: Reply(404, body=b"no")
    span_by_name = {
        span.name: span for span in site.trace(upstream, "/says/orders/1?page=2", 11, {"user-agent": "test/1"})
    }
    exchange, to_upstream = span_by_name["says GET /*"], span_by_name["upstream GET"]
    expected = {
        "http.request.method": "GET", "url.path": "/says/orders/1", "url.query": "page=2", "url.scheme": "http",
        "http.response.status_code": 404, "network.protocol.version": "1.1", "server.address": "127.0.0.1",
        "server.port": site.gateway.port, "client.address": "127.0.0.1", "user_agent.original": "test/1",
        "gatewright.api": "says", "gatewright.operation": "GET /*", "gatewright.details": "via_upstream",
        "gatewright.request_id": upstream.received[-1].value("x-request-id"), "http.response.body.size": 2,
    }  # fmt: skip
    assert {name: exchange.attributes.get(name) for name in expected} == expected
    assert to_upstream.attributes["server.port"] == upstream.port
    assert (to_upstream.attributes["http.response.status_code"], to_upstream.attributes["error.type"]) == (404, "404")
    execution = span_by_name["records-spans:v1.0.0 request"]
    assert execution.attributes == {
        "gatewright.policy": "records-spans:v1.0.0", "gatewright.phase": "request", "gatewright.api": "says",
        "gatewright.operation": "GET /*", "gatewright.outcome": "ok",
    }  # fmt: skip


def test_a_failed_executions_span_has_the_reason(site: Site, upstream: Upstream) -> None:
    """Without secrets in its reason. The log line and the access line name the trace."""
    site.gateway.deploy(api("bad", upstream.url, [attach("fails")]))
    trace = "4" * 32
    answer = site.get("/bad/x", traceparent(True, trace))
    assert answer.status_code == 500
    span_by_name = spans_by_name(site.spans(trace, 2))
    execution, exchange = span_by_name["fails:v1.0.0 request"], span_by_name["bad GET /*"]
    assert execution.attributes["gatewright.outcome"] == execution.attributes["error.type"] == "exception"
    assert "ValueError" in str(execution.error)
    assert (exchange.attributes["error.type"], exchange.attributes["gatewright.details"]) == ("500", exchange.error)
    assert exchange.parent == CLIENT_SPAN
    eventually("the access line comes", lambda: site.gateway.access_records("bad"))
    assert site.gateway.access_records("bad")[0]["traceId"] == trace


def test_a_route_without_policies_has_spans_too(site: Site, upstream: Upstream) -> None:
    """The engine does not see its requests: they go upstream as they came."""
    site.gateway.deploy(api("none", upstream.url))
    trace = "5" * 32
    site.get("/none/x", traceparent(False, trace))
    assert traceparent_of(upstream.received[-1]) == (trace, CLIENT_SPAN, "00")
    assert {span.name for span in site.spans(trace, 2)} == {"none GET /*", "upstream GET"}


def test_the_span_of_an_unreachable_upstream_has_the_reason(site: Site) -> None:
    site.gateway.deploy(api("away", "http://127.0.0.1:9", [attach("add-headers")]))
    trace = "1" * 32
    site.get("/away/x", traceparent(False, trace))
    span_by_name = spans_by_name(site.spans(trace, 3))
    assert span_by_name["away GET /*"].attributes["http.response.status_code"] == 503
    assert (span_by_name["upstream GET"].attributes["error.type"], span_by_name["upstream GET"].parent) == (
        "UF",
        span_by_name["away GET /*"].id,
    )
    assert span_by_name["upstream GET"].error


# ---------------------------------------------------------------- which exchanges are traced


def test_a_share_is_traced_regardless_of_clients(settings: Site, upstream: Upstream) -> None:
    """Not those whose clients set the flag; headers of untraced requests go upstream unchanged."""
    settings.gateway.deploy(go_python_go("share", upstream))
    settings.change(sample=0.0)
    settings.get("/share/x", traceparent(True))
    assert upstream.received[-1].value("traceparent") == traceparent(True)["traceparent"]
    assert upstream.received[-1].value("tracestate") == "vendor=1"
    settings.change(sample=0.5)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: settings.get(f"/share/{n}", traceparent(True)), range(100)))
    own = [request for request in upstream.received if request.value("traceparent") != traceparent(True)["traceparent"]]
    assert 20 < len(own) < 80  # 50 ± 6 standard deviations
    assert {traceparent_of(request)[0] for request in own} == {CLIENT_TRACE}
    assert {request.value("tracestate") for request in own} == {"vendor=1"}


def test_trusted_clients_decide_on_sampling(settings: Site, upstream: Upstream) -> None:
    settings.gateway.deploy(go_python_go("trust", upstream))
    settings.change(sample=0.0, trustClients=True)
    trace = "2" * 32
    spans = settings.trace(upstream, "/trust/x", 11, {"traceparent": f"00-{trace}-{CLIENT_SPAN}-01"})
    assert [(span.name, span.parent) for span in spans if span.kind == "server"] == [("trust GET /*", CLIENT_SPAN)]
    settings.change(sample=1.0, trustClients=True)
    settings.get("/trust/y", traceparent(False))
    assert traceparent_of(upstream.received[-1]) == (CLIENT_TRACE, CLIENT_SPAN, "00")


def test_a_token_forces_a_trace(settings: Site, upstream: Upstream) -> None:
    """Another one does nothing, and none of them goes upstream or stands in a span."""
    settings.gateway.deploy(go_python_go("forced", upstream))
    settings.gateway.deploy(api("forced-none", upstream.url))
    settings.change(sample=0.0, forceTokenFile=str(settings.token))
    assert len(settings.trace(upstream, "/forced/x", 11, PRESENTED)) == 11
    for wrong in ({"x-gatewright-trace": TOKEN + "x"}, {"x-gatewright-trace": ""}, {}):
        for path in ("/forced/y", "/forced-none/y"):
            settings.get(path, wrong)
            assert upstream.received[-1].value("traceparent") is None
    trace = "3" * 32
    settings.get("/forced-none/x", PRESENTED | {"traceparent": f"00-{trace}-{CLIENT_SPAN}-00"})
    assert {span.name for span in settings.spans(trace, 2)} == {"forced-none GET /*", "upstream GET"}
    assert not [
        span
        for span in settings.collector.spans()
        if span.attributes.get("url.path") in {"/forced/y", "/forced-none/y"}
    ]
    assert not [request for request in upstream.received if request.values("x-gatewright-trace")]
    settings.get("/forced/z", {"x-gatewright-other": "1", "x-gatewright-tracer": "1"})
    assert not [name for name, _ in upstream.received[-1].headers if name.startswith(b"x-gatewright")]


def test_a_header_that_is_no_traceparent_begins_a_trace(site: Site, upstream: Upstream) -> None:
    site.gateway.deploy(go_python_go("mad", upstream))
    spans = site.trace(upstream, "/mad/x", 11, {"traceparent": "00-zz", "tracestate": "vendor=1"})
    assert [span.parent for span in spans if span.kind == "server"] == [""]
    assert upstream.received[-1].value("tracestate") is None


# ---------------------------------------------------------------- how they are exported


def test_spans_are_exported_over_http_with_configured_headers(settings: Site, upstream: Upstream) -> None:
    settings.gateway.deploy(go_python_go("http", upstream))
    settings.change(
        collector=f"http://127.0.0.1:{settings.collector.http}",
        protocol="http",
        serviceName="edge",
        headers={"x-tenant": TENANT},
        resourceAttributes={"deployment.environment.name": "test"},
    )
    spans = settings.trace(upstream, "/http/x", 11)
    assert {(span.resource["service.name"], span.resource["deployment.environment.name"]) for span in spans} == {
        ("edge", "test")
    }


def test_a_collector_that_is_away_costs_no_request_and_gets_the_backlog(site: Site, upstream: Upstream) -> None:
    site.gateway.deploy(go_python_go("outage", upstream))
    before = len(site.gateway.find_records(message="traces are not exported"))
    site.collector.stop()
    assert all(site.get(f"/outage/{n}").status_code == 200 for n in range(20))
    message = "traces are not exported"
    eventually("the log reports it", lambda: len(site.gateway.find_records(message=message)) == before + 1, 20)
    assert site.get("/outage/last").status_code == 200
    site.collector.start()
    traces = {traceparent_of(request)[0] for request in upstream.received}
    assert len(traces) == 21
    eventually("all are received", lambda: traces <= {span.trace for span in site.collector.spans()}, 30)
    eventually("the log reports it", lambda: site.gateway.find_records(message="traces are exported again"))
    assert len(site.gateway.find_records(message="traces are not exported")) == before + 1


def test_no_secret_is_in_any_span(site: Site, upstream: Upstream) -> None:
    site.gateway.deploy(go_python_go("secret", upstream))
    headers = {"authorization": f"Bearer {SECRET}", "user-agent": f"x/1 (token={SECRET})"}
    spans = site.trace(upstream, f"/secret/x?access_token={SECRET}&page=1", 11, headers)
    exchange = next(span for span in spans if span.kind == "server")
    assert exchange.attributes["url.query"] == "access_token=[redacted]&page=1"
    assert next(span for span in spans if span.name == "look up").attributes == {
        "http.request.header.authorization": "[redacted]", "gatewright.policy": "records-spans:v1.0.0",
    }  # fmt: skip
    for planted in (SECRET, TOKEN, TENANT):
        assert planted not in site.collector.text()


def test_tracing_can_be_disabled(settings: Site, upstream: Upstream) -> None:
    settings.gateway.deploy(go_python_go("off", upstream))
    change_settings(settings.gateway, tracing=None)
    settings.get("/off/x", traceparent(True))
    assert traceparent_of(upstream.received[-1]) == (CLIENT_TRACE, CLIENT_SPAN, "01")
