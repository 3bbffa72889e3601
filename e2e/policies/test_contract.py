"""The contract with policies and publishers: hooks, bodies in both phases, encodings, limits of headers, timeouts."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import itertools
import json
import os
import signal
import socket
import zlib
from collections.abc import Iterator

import httpx
import pytest

from e2e.kit.gateway import Gateway, Json, api, attach, eventually, running
from e2e.kit.policy_project import PolicyProject
from e2e.kit.streaming_upstream import StreamingUpstream
from e2e.kit.upstream import Reply, Upstream

pytestmark = pytest.mark.in_envoy_too

SAMPLE = '''
from typing import Any, Dict
from sdk.policy import RequestContext, ResponseContext, RequestAction, ResponseAction

def on_request(ctx: RequestContext, params: Dict[str, Any]) -> RequestAction:
    """Process request phase.

    Args:
        ctx: Request context with headers, body, path, method, shared metadata.
        params: Policy configuration parameters from policy-definition.yaml.

    Returns:
        None for pass-through, UpstreamRequestModifications for changes,
        or ImmediateResponse to short-circuit.
    """
    # Example: add a header
    from sdk.policy import UpstreamRequestModifications
    return UpstreamRequestModifications(set_headers={"X-Custom": "value"})

def on_response(ctx: ResponseContext, params: Dict[str, Any]) -> ResponseAction:
    """Process response phase.

    Args:
        ctx: Response context with request data, response headers/body/status, shared metadata.
        params: Policy configuration parameters.

    Returns:
        None for pass-through or UpstreamResponseModifications for changes.
    """
    return None  # Pass-through
'''
PHASES = ("requestHeaderMode", "requestBodyMode", "responseHeaderMode", "responseBodyMode")
COMBINATIONS = [
    dict(zip(PHASES, modes, strict=True))
    for modes in itertools.product(("SKIP", "PROCESS"), ("SKIP", "BUFFER"), ("SKIP", "PROCESS"), ("SKIP", "BUFFER"))
    if set(modes) != {"SKIP"}
]
RECALLS = """
from sdk.policy import UpstreamRequestModifications, UpstreamResponseModifications

def on_request(ctx, params):
    return UpstreamRequestModifications(body=(ctx.body or b"") + params.get("adds", "").encode())

def on_response(ctx, params):
    body = ctx.request.body
    return UpstreamResponseModifications(set_headers={"x-request-body": "none" if body is None else body})
"""
MASKS = """
from sdk.policy import UpstreamRequestModifications, UpstreamResponseModifications

def on_request(ctx, params):
    return UpstreamRequestModifications(body=ctx.body.replace(b"4111", b"****")) if ctx.body else None

def on_response(ctx, params):
    return UpstreamResponseModifications(body=ctx.body.replace(b"4111", b"****")) if ctx.body else None
"""
DECODES = """
import gzip
from sdk.policy import UpstreamResponseModifications

def on_response(ctx, params):
    if ctx.headers.get("content-encoding") == "gzip":
        return UpstreamResponseModifications(body=gzip.decompress(ctx.body))
"""
SETS_MANY = """
from sdk.policy import ImmediateResponse, UpstreamRequestModifications, UpstreamResponseModifications

def made(ctx, params, kind):
    if params["when"] == kind:
        headers = {f"x-many-{n}": "v" * params["size"] for n in range(params["count"])}
        if params.get("answers"):
            return ImmediateResponse(200, headers)
        kinds = {"request": UpstreamRequestModifications, "response": UpstreamResponseModifications}
        return kinds[kind](set_headers=headers)

def on_request(ctx, params):
    return made(ctx, params, "request")

def on_response(ctx, params):
    return made(ctx, params, "response")
"""
MASKS_STREAMS = """
async def masked(chunks):
    return b"".join([chunk async for chunk in chunks]).replace(b"4111", b"****")


async def on_request_stream(ctx, chunks, params):
    assert "content-encoding" not in ctx.headers, ctx.headers
    yield await masked(chunks)


async def on_response_stream(ctx, chunks, params):
    assert "content-encoding" not in ctx.headers, ctx.headers
    yield await masked(chunks)
"""
PROBLEM = "application/problem+json"
CARD = b'{"card": "4111 1111 1111 1111"}'
BROTLI_CARD = "1b1e0000049c63a9ca421b98ccf5bc2409aa0acd114f16aa4678"
ZSTD_CARD = "28b52ffd0400f900007b2263617264223a202234313131203131313120313131312031313131227d65774bcc"
"""CARD, encoded by the libraries of the engine: the standard library has neither."""


def combination_name(modes: Json) -> str:
    return "sample-" + "".join(mode[0].lower() for mode in modes.values())


def definition(name: str, modes: Json, more: str = "") -> dict[str, str]:
    lines = [f"name: {name}", "version: v1.0.0", "runtime: python", "processingMode:"]
    lines += [f"  {phase}: {mode}" for phase, mode in modes.items()]
    return {"policy-definition.yaml": "\n".join([*lines, more or "parameters: {type: object}", ""])}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> PolicyProject:
    policies_project = PolicyProject(tmp_path_factory.mktemp("project"), "e2e-contract", go=())
    for modes in COMBINATIONS:
        name = combination_name(modes)
        policies_project.write_policy(name, SAMPLE, **definition(name, modes))
    bodies = {"requestBodyMode": "BUFFER", "responseBodyMode": "BUFFER"}
    free = "parameters: {type: object, additionalProperties: true}"
    both = {"requestBodyMode": "BUFFER", "responseHeaderMode": "PROCESS", "requestBodyInResponse": "true"}
    policies_project.write_policy("recalls", RECALLS, **definition("recalls", both, free))
    policies_project.write_policy(
        "forgets", RECALLS, **definition("forgets", {**both, "requestBodyInResponse": "false"}, free)
    )
    policies_project.write_policy("masks", MASKS, **definition("masks", bodies))
    streams = {"requestBodyMode": "STREAM", "responseBodyMode": "STREAM"}
    policies_project.write_policy("masks-streams", MASKS_STREAMS, **definition("masks-streams", streams))
    policies_project.write_policy("refuses", MASKS, **definition("refuses", {**bodies, "encodedBodies": "REFUSE"}))
    policies_project.write_policy(
        "decodes", DECODES, **definition("decodes", {"responseBodyMode": "BUFFER", "encodedBodies": "PASS"})
    )
    phases = {"requestHeaderMode": "PROCESS", "responseHeaderMode": "PROCESS"}
    policies_project.write_policy("sets-many", SETS_MANY, **definition("sets-many", phases, free))
    return policies_project


@pytest.fixture(scope="module")
def gateway(project: PolicyProject, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running(None, tmp_path_factory.mktemp("state"), *project.arguments) as gateway:
        yield gateway


def deploy(gateway: Gateway, document: Json, **spec: object) -> str:
    """The URL of the API's context."""
    document["spec"] |= spec
    gateway.deploy(document)
    return f"{gateway.url}{document['spec']['context']}"


def is_problem(answer: httpx.Response, status: int) -> Json:
    assert (answer.status_code, answer.headers.get("content-type")) == (status, PROBLEM), answer.text
    problem: Json = answer.json()
    assert (problem["status"], problem["requestId"] != "") == (status, True)
    return problem


def failure_of(gateway: Gateway, problem: Json) -> Json:
    """The engine's line about it."""

    def lines() -> list[Json]:
        return gateway.find_records(message="policy failed", requestId=problem["requestId"])

    eventually("the log names the failure", lines)
    (line,) = lines()
    return line


# ------------------------------------------------------------------ hooks


@pytest.mark.parametrize("modes", COMBINATIONS, ids=combination_name)
def test_the_customers_sample_runs_under_all_modes(gateway: Gateway, upstream: Upstream, modes: Json) -> None:
    name = combination_name(modes)
    upstream.reply = lambda request: Reply(200, [("x-answered", "yes")], request.body + b" answered")
    url = deploy(gateway, api(name, upstream.url, [attach(name)]))
    answers = [httpx.get(f"{url}/x"), httpx.post(f"{url}/x", content=b"asked"), httpx.head(f"{url}/x")]
    assert [(answer.status_code, answer.content, answer.headers["x-answered"]) for answer in answers] == [
        (200, b" answered", "yes"), (200, b"asked answered", "yes"), (200, b"", "yes"),
    ]  # fmt: skip
    asks = modes["requestHeaderMode"] != "SKIP" or modes["requestBodyMode"] != "SKIP"
    answers_ = modes["responseHeaderMode"] != "SKIP" or modes["responseBodyMode"] != "SKIP"
    assert [request.value("x-custom") for request in upstream.to("/x")] == 3 * ["value" if asks else None]
    counters = json.loads(gateway.admin("engine", "/stats"))["policies"]
    executions = {
        counter["operation"]: counter["executions"] for counter in counters if counter["policy"] == f"{name}:v1.0.0"
    }
    each_time = asks + answers_
    expected = {"GET /*": 2 * each_time, "POST /*": each_time, "OPTIONS /*": 0}
    assert executions == expected, "an unused hook is never called"
    notes = [line for line in gateway.log if line.startswith("note: ") and f"{name}:v1.0.0 is never called" in line]
    assert [f"{'on_request' if not asks else 'on_response'} of " in note for note in notes] == (
        [] if asks and answers_ else [True]
    )


def test_an_unused_hook_is_reported_at_a_reload_too(gateway: Gateway, project: PolicyProject) -> None:
    project.write_policy("late", SAMPLE, **definition("late", {"requestHeaderMode": "PROCESS"}))
    result = gateway.reload()
    assert result.returncode == 0, result.stderr
    assert "on_response of late:v1.0.0 is never called" in result.stdout + result.stderr
    assert "write responseHeaderMode: PROCESS" in result.stdout + result.stderr


# ------------------------------------------------------------------ the request's body in the response phase


def test_the_response_phase_has_the_requests_body_on_demand(gateway: Gateway, upstream: Upstream) -> None:
    grows = attach("recalls", {"adds": "+more"})
    for name, policies, expected in [
        ("recalls", [attach("recalls")], "what was asked"),
        ("recalls-grown", [attach("recalls"), grows], "what was asked+more"),
        ("forgets", [attach("forgets")], "none"),
    ]:
        url = deploy(gateway, api(name, upstream.url, policies))
        assert httpx.post(f"{url}/x", content=b"what was asked").headers["x-request-body"] == expected
        assert httpx.get(f"{url}/x").headers["x-request-body"] == ("none" if len(policies) == 1 else "+more")


def test_the_requests_body_crosses_processes_and_generations(
    gateway: Gateway, upstream: Upstream, project: PolicyProject
) -> None:
    url = deploy(gateway, api("recalls-across", upstream.url, [attach("recalls")]))
    (before,) = gateway.executors()

    def reply(_: object) -> Reply:
        project.write_policy("later", SAMPLE, **definition("later", {"requestHeaderMode": "PROCESS"}))
        assert gateway.reload().returncode == 0
        with contextlib.suppress(ProcessLookupError):
            os.kill(before["pid"], signal.SIGKILL)
        eventually("the new process alone", lambda: str(before["pid"]) not in gateway.admin("engine", "/executors"))
        return Reply(200)

    upstream.reply = reply
    answer = httpx.post(f"{url}/x", content=b"from before", timeout=120)
    assert (answer.status_code, answer.headers["x-request-body"]) == (200, "from before")
    assert before["pid"] not in [executor["pid"] for executor in gateway.executors()]


# ------------------------------------------------------------------ encoded bodies


ENCODED = {
    "gzip": gzip.compress(CARD),
    "deflate": zlib.compress(CARD),
    "deflate alone": zlib.compress(CARD, wbits=-15),
    "br": bytes.fromhex(BROTLI_CARD),
    "zstd": bytes.fromhex(ZSTD_CARD),
    "br, gzip": gzip.compress(bytes.fromhex(BROTLI_CARD)),
}
MASKED = CARD.replace(b"4111", b"****")


@pytest.mark.parametrize("way", ENCODED)
def test_a_body_policy_receives_decoded_bodies(gateway: Gateway, upstream: Upstream, way: str) -> None:
    url = deploy(gateway, api("masks", upstream.url, [attach("masks")]))
    coding = {"content-encoding": way.removesuffix(" alone")}
    assert httpx.post(f"{url}/x", content=ENCODED[way], headers=coding).status_code == 200
    (request,) = upstream.to("/x")
    assert (request.body, request.value("content-length")) == (MASKED, str(len(MASKED)))
    assert request.value("content-encoding") is None

    tags = [("etag", '"v1"'), ("content-digest", "sha-256=:x:"), ("accept-ranges", "bytes")]
    upstream.reply = lambda _: Reply(200, [*coding.items(), *tags], ENCODED[way])
    answer = httpx.get(f"{url}/x", headers={"accept-encoding": "gzip"})
    assert (answer.status_code, answer.content, answer.headers["content-length"]) == (200, MASKED, str(len(MASKED)))
    assert (answer.headers["etag"], answer.headers["vary"]) == ('W/"v1"', "accept-encoding")
    assert not answer.headers.keys() & {"content-encoding", "content-digest", "accept-ranges"}
    assert upstream.to("/x")[-1].value("accept-encoding") == "identity"


@pytest.mark.parametrize("way", ENCODED)
def test_a_python_stream_receives_decoded_bodies(gateway: Gateway, upstream: Upstream, way: str) -> None:
    url = deploy(gateway, api("masks-streams", upstream.url, [attach("masks-streams")]))
    coding = {"content-encoding": way.removesuffix(" alone")}
    upstream.reply = lambda _: Reply(200, [*coding.items()], ENCODED[way])
    answer = httpx.post(f"{url}/x", content=ENCODED[way], headers=coding)
    (request,) = upstream.to("/x")
    assert (request.body, request.value("content-encoding")) == (MASKED, None)
    assert (answer.status_code, answer.content, "content-encoding" in answer.headers) == (200, MASKED, False)
    is_problem(httpx.post(f"{url}/x", content=b"no such coding", headers=coding), 415)


def test_a_response_is_encoded_as_it_came_for_clients_that_accept_it(gateway: Gateway, upstream: Upstream) -> None:
    url = deploy(gateway, api("encodes", upstream.url, [attach("masks")]), encodedResponses=True)
    upstream.reply = lambda _: Reply(200, [("content-encoding", "gzip")], ENCODED["gzip"])
    with httpx.stream("GET", f"{url}/x", headers={"accept-encoding": "gzip, br, compress"}) as answer:
        assert answer.headers["content-encoding"] == "gzip"
        packed = b"".join(answer.iter_raw())
        assert (gzip.decompress(packed), answer.headers["content-length"]) == (MASKED, str(len(packed)))
    assert upstream.to("/x")[-1].value("accept-encoding") == "gzip, br"
    answer = httpx.get(f"{url}/x", headers={"accept-encoding": "br"})
    assert (answer.content, "content-encoding" in answer.headers) == (MASKED, False)
    answer = httpx.get(f"{url}/x", headers={"accept-encoding": "gzip", "range": "bytes=0-9"})
    request = upstream.to("/x")[-1]
    assert (request.value("accept-encoding"), request.value("range"), answer.status_code) == ("gzip", None, 200)


def test_a_body_policy_never_sees_encoded_bytes(gateway: Gateway, upstream: Upstream) -> None:
    url = deploy(gateway, api("masks", upstream.url, [attach("masks")]))
    strict = deploy(gateway, api("refuses", upstream.url, [attach("refuses")]))
    packed = {"content-encoding": "GZip"}
    whole = ENCODED["gzip"]
    for where, body in [
        (strict, whole),
        (url, whole[:-1]),
        (url, CARD),
        (url, whole + b"x"),
        (url, whole[:-8] + bytes(8)),
    ]:
        refused = httpx.post(f"{where}/x", content=body, headers=packed)
        assert "content encoding" in is_problem(refused, 415)["detail"]
        assert (refused.headers["accept-encoding"], upstream.received) == ("identity", [])
    assert httpx.post(f"{url}/x", content=CARD, headers={"content-encoding": "identity"}).status_code == 200
    assert b"4111" not in upstream.to("/x")[0].body
    assert upstream.to("/x")[0].value("accept-encoding") == "identity"

    upstream.reply = lambda _: Reply(200, [("content-encoding", "gzip")], whole[:-1])
    answer = httpx.get(f"{url}/x", headers={"accept-encoding": "gzip"})
    problem = is_problem(answer, 502)
    assert b"4111" not in answer.content
    line = failure_of(gateway, problem)
    assert (line["policy"], line["class"]) == ("masks:v1.0.0", "badBody")
    assert httpx.head(f"{url}/x").status_code == 200
    for status in (204, 304):
        upstream.reply = lambda _, status=status: Reply(status, [("content-encoding", "gzip")])  # type: ignore[misc]
        assert httpx.get(f"{url}/x").status_code == status


def test_a_decompression_bomb_is_refused(gateway: Gateway, upstream: Upstream) -> None:
    url = deploy(gateway, api("bombs", upstream.url, [attach("masks", maxBodyBytes=64 << 20, timeout="20s")]))
    header, block = bytes.fromhex("28b52ffd0038"), (128 << 10 << 3 | 2).to_bytes(3, "little") + b"x"
    bomb = header + block * (10 << 13)  # 10 GiB: each block says 128 KiB of one byte
    is_problem(httpx.post(f"{url}/x", content=bomb, headers={"content-encoding": "zstd"}), 415)
    assert upstream.received == []


def test_a_policy_that_opts_out_of_decoding_receives_encoded_bytes(gateway: Gateway, upstream: Upstream) -> None:
    upstream.reply = lambda _: Reply(200, [("content-encoding", "gzip")], gzip.compress(CARD))
    goes_on = deploy(gateway, api("masks-not", upstream.url, [attach("refuses", onError={"badBody": "continue"})]))
    answer = httpx.get(f"{goes_on}/x")
    assert (answer.headers["content-encoding"], answer.content) == ("gzip", CARD)
    decodes = deploy(gateway, api("decodes", upstream.url, [attach("refuses"), attach("decodes")]))
    answer = httpx.get(f"{decodes}/x")
    assert answer.content == CARD.replace(b"4111", b"****")
    assert "content-encoding" not in answer.headers
    assert answer.headers["content-length"] == str(len(answer.content))


# ------------------------------------------------------------------ limits of headers


def headers(count: int, size: int = 1) -> dict[str, str]:
    return {f"x-client-{n}": "v" * size for n in range(count)}


@pytest.fixture(scope="module")
def many_headers_url(gateway: Gateway, recording_upstream: Upstream) -> str:
    return deploy(gateway, api("sets-one", recording_upstream.url, [attach("sets-many", many_headers("request", 90))]))


def many_headers(when: str, count: int, size: int = 1, answers: bool = False) -> Json:
    return {"when": when, "count": count, "size": size, "answers": answers}


@pytest.mark.parametrize("client", [{"http1": True}, {"http1": False, "http2": True}], ids=["h1", "h2"])
def test_a_clients_headers_leave_policies_their_room(upstream: Upstream, many_headers_url: str, client: Json) -> None:
    with httpx.Client(**client) as talking:
        assert talking.get(f"{many_headers_url}/x", headers=headers(85)).status_code == 200
        assert len(upstream.to("/x")[0].headers) > 175
        problem = is_problem(talking.get(f"{many_headers_url}/x", headers=headers(110)), 431)
        assert "expected at most 100 header lines" in problem["detail"]
        problem = is_problem(talking.get(f"{many_headers_url}/x", headers=headers(70, 1000)), 431)
        assert "expected at most 65536 bytes of headers" in problem["detail"]


def test_envoys_own_refusals_are_problems_too(gateway: Gateway, upstream: Upstream) -> None:
    url = deploy(gateway, api("plain", upstream.url))
    assert httpx.get(f"{url}/x", headers=headers(200)).status_code == 200
    refused = httpx.get(f"{url}/x", headers=headers(260))
    assert (refused.status_code, refused.headers["content-type"]) == (431, PROBLEM)
    refused = httpx.get(f"{url}/x", headers=headers(60, 5000))
    assert (refused.status_code, refused.headers["content-type"]) == (431, PROBLEM)


@pytest.mark.parametrize("answers", [False, True], ids=["modifies", "answers"])
@pytest.mark.parametrize("when", ["request", "response"])
@pytest.mark.parametrize(("count", "size"), [(210, 1), (2, 100_000)])
def test_a_policys_headers_beyond_the_limit_are_its_fault(
    gateway: Gateway, upstream: Upstream, when: str, count: int, size: int, answers: bool
) -> None:
    name = f"sets-{when}-{count}-{'answers' if answers else 'modifies'}"
    url = deploy(gateway, api(name, upstream.url, [attach("sets-many", many_headers(when, count, size, answers))]))
    problem = is_problem(httpx.get(f"{url}/x"), 500)
    line = failure_of(gateway, problem)
    assert (line["policy"], line["class"]) == ("sets-many:v1.0.0", "badAction")
    assert "expected at most" in line["reason"]


@pytest.mark.parametrize(("count", "size"), [(90, 1), (100, 1000)])
@pytest.mark.parametrize("when", ["request", "response"])
def test_a_policy_may_set_many_headers(gateway: Gateway, upstream: Upstream, when: str, count: int, size: int) -> None:
    name = f"sets-{when}-{count}"
    url = deploy(gateway, api(name, upstream.url, [attach("sets-many", many_headers(when, count, size))]))
    answer = httpx.get(f"{url}/x")
    assert answer.status_code == 200
    headers_seen = dict(upstream.to("/x")[0].headers) if when == "request" else answer.headers
    assert len([name for name in headers_seen if b"x-many-" in bytes(str(name), "ascii")]) == count


def test_too_many_headers_of_an_upstream_are_a_502(gateway: Gateway) -> None:
    with StreamingUpstream() as upstream:
        url = deploy(gateway, api("upstreams-many", upstream.url, [attach("sets-many", many_headers("response", 1))]))
        assert httpx.get(f"{url}/x?headers=90").status_code == 200
        is_problem(httpx.get(f"{url}/x?headers=120"), 502)
        is_problem(httpx.get(f"{url}/x?headers=300"), 502)
        plain = deploy(gateway, api("upstreams-many-plain", upstream.url))
        assert httpx.get(f"{plain}/x?headers=120").status_code == 200
        is_problem(httpx.get(f"{plain}/x?headers=300"), 502)


# ------------------------------------------------------------------ timeouts


@pytest.fixture(scope="module")
def streaming_url(gateway: Gateway) -> Iterator[str]:
    """An API whose upstream has 2 s to begin, and 4 s between two pieces."""
    late = {"method": "GET", "path": "/late", "requestTimeout": "8s", "idleTimeout": "10s"}
    operations: list[Json] = [{"method": "GET", "path": "/*"}, late]
    with StreamingUpstream() as upstream:
        document = api(
            "streams", upstream.url, [attach("sets-many", many_headers("response", 1), timeout="1900ms")], operations
        )
        yield deploy(gateway, document, requestTimeout="2s", idleTimeout="4s")


def test_a_stream_lives_while_data_flows(streaming_url: str) -> None:
    """The upstream waits before each piece: together for longer than the idle timeout, which begins anew with each."""
    pieces, gap = 7, 0.7
    assert gap < 4 < pieces * gap
    answer = httpx.get(f"{streaming_url}/x?pieces={pieces}&gap={gap}", timeout=30)
    assert (answer.status_code, answer.text.count("data: ")) == (200, pieces)


def test_a_silent_stream_ends(streaming_url: str) -> None:
    with httpx.stream("GET", f"{streaming_url}/x?silent&pieces=1", timeout=30) as answer:
        assert answer.status_code == 200
        with pytest.raises(httpx.RemoteProtocolError):
            answer.read()


def test_a_slow_first_byte_is_a_504(streaming_url: str) -> None:
    """An upstream that begins after 4 s is too slow for one operation, and not for the other."""
    problem = is_problem(httpx.get(f"{streaming_url}/x?first=4&pieces=1", timeout=30), 504)
    assert problem["detail"] == "The upstream did not answer in time."
    assert httpx.get(f"{streaming_url}/late?first=4&pieces=1", timeout=30).status_code == 200


def test_the_time_until_the_answer_begins_counts_from_the_requests_end(gateway: Gateway) -> None:
    with StreamingUpstream() as upstream:
        url = deploy(gateway, api("late-posts", upstream.url, [attach("masks")]), requestTimeout="1s")

        def longer_than_another_may_wait() -> Iterator[bytes]:
            yield b"1234567890"
            is_problem(httpx.post(f"{url}/x?first=10", content=b"all", timeout=30), 504)
            yield b"1234567890"

        content, length = longer_than_another_may_wait(), {"content-length": "20"}
        assert httpx.post(f"{url}/x", content=content, headers=length, timeout=30).status_code == 200


def test_a_request_that_stops_coming_is_a_408(gateway: Gateway) -> None:
    with StreamingUpstream() as upstream:
        url = deploy(gateway, api("stops", upstream.url, [attach("masks")]), idleTimeout="1500ms")
        head = f"POST {url.removeprefix(gateway.url)}/x HTTP/1.1\r\nhost: a\r\ncontent-length: 20\r\n\r\n"
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=30) as connection:
            connection.sendall(f"{head}some".encode())
            answer = http.client.HTTPResponse(connection, method="POST")
            answer.begin()
            body = answer.read()
        is_problem(httpx.Response(answer.status, headers=answer.getheaders(), content=body), 408)


# ------------------------------------------------------------------ the host that the client named


def test_the_upstream_receives_the_host_that_the_client_named(gateway: Gateway, upstream: Upstream) -> None:
    for name, policies in [("hosts", []), ("hosts-policy", [attach("masks")])]:
        url = deploy(gateway, api(name, upstream.url, policies))
        for host in ("api.example.com", "api.example.com:8443"):
            upstream.received.clear()
            httpx.get(f"{url}/x", headers={"host": host, "x-forwarded-host": "evil.example"})
            (request,) = upstream.received
            assert (request.value("x-forwarded-host"), request.value("host")) == (
                host,
                upstream.url.removeprefix("http://"),
            )
