"""Policies that read bodies × bodies that are no text or not in the declared charset.

Each is read, passed or refused, in both directions: no policy fails (500), and no secret passes.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import httpx
import pytest
import yaml

from e2e.kit.gateway import BUILD_SECONDS, Gateway, api, attach, running
from e2e.kit.places import ROOT
from e2e.kit.upstream import Recorded, Reply, Upstream
from e2e.policies.bodies import HIDE, JSON, MAIL, PAGE, POLICIES, SHAPES, XML, Shape, replace_tables

PLAIN = Reply(200, [("content-type", "application/json")], b'{"a": 1}')
ENVELOPE = Reply(
    200,
    [("content-type", "text/xml")],
    b"<soap:Envelope xmlns:soap='http://schemas.xmlsoap.org/soap/envelope/'><soap:Body><Got/></soap:Body></soap:Envelope>",
)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, recording_upstream: Upstream) -> Iterator[Gateway]:
    """A gateway with an API for each of these policies."""
    folder = tmp_path_factory.mktemp("bodies")
    manifest, output = folder / "build.yaml", ROOT / "build" / "bodies"
    entries = [{"name": name, "filePath": str(folder_of(name))} for name in POLICIES]
    manifest.write_text(yaml.safe_dump({"version": "v1", "policies": entries}))
    command = ["gatewright", "build", "--manifest", str(manifest), "--output", str(output)]
    subprocess.run(command, check=True, timeout=BUILD_SECONDS)
    with running(output, folder / "state") as started:
        for name, params in POLICIES.items():
            started.deploy(api(name, recording_upstream.url, [attach(name, params, timeout="10s")]))
        yield started


def folder_of(policy: str) -> Path:
    return next(folder for room in ("policies", "sample-policies") if (folder := ROOT / room / policy).exists())


def leaks(policy: str, direction: str, shape: Shape, body: bytes) -> bool:
    """Whether a reader finds the address in the body, in whatever it is written, where the policy is to hide it."""
    types = HIDE.get(policy, {}).get(direction, ())
    is_read = any(shape.content_type.decode("latin-1").startswith(media_type) for media_type in types)
    codecs = ("utf-8", "utf-16-le", "utf-16-be", "utf-32-le")
    return is_read and any(MAIL.encode(codec) in body for codec in codecs)


class Trials:
    """The outcome of each shape by policy, each tried once."""

    def __init__(self, gateway: Gateway, upstream: Upstream) -> None:
        self._gateway, self._upstream = gateway, upstream
        self.wrong: dict[tuple[str, str, str], object] = {}
        self.requests, self.responses = cache(self._requests), cache(self._responses)

    def _client(self, policy: str) -> httpx.Client:
        return httpx.Client(base_url=f"{self._gateway.url}/{policy}", timeout=30)

    def _requests(self, policy: str) -> dict[str, str]:
        reply = ENVELOPE if policy == "soap-bridge" else PLAIN
        self._upstream.reply = lambda _: reply
        outcomes = {}
        with self._client(policy) as client:
            for name, shape in SHAPES.items():
                self._upstream.received.clear()
                answer = client.post("/x", headers=headers_of(shape), content=shape.body)
                bodies = [request.body for request in self._upstream.received]
                has_leaked = any(leaks(policy, "request", shape, body) for body in bodies)
                if answer.status_code not in {200, 400, 413, 415} or b"" in bodies or has_leaked:
                    self.wrong["request", policy, name] = answer.status_code, answer.text, bodies
                is_refused = answer.status_code != 200
                outcomes[name] = str(answer.status_code) if is_refused else outcome_of(shape, bodies[0])
        return outcomes

    def _responses(self, policy: str) -> dict[str, str]:
        outcomes = {}
        with self._client(policy) as client:
            for name, shape in SHAPES.items():
                self._upstream.reply = answer_of(shape)
                status, body, is_whole = response_of(client)
                if status not in {200, 206, 502} or body == b"" or leaks(policy, "response", shape, body):
                    self.wrong["response", policy, name] = status, body
                outcome = outcome_of(shape, body) if is_whole else "cut off"
                outcomes[name] = outcome if status < 300 else str(status)
        return outcomes


def outcome_of(shape: Shape, body: bytes) -> str:
    return "as it came" if body == shape.body else "read"


@pytest.fixture(scope="module")
def trials(gateway: Gateway, recording_upstream: Upstream) -> Trials:
    return Trials(gateway, recording_upstream)


@pytest.mark.usefixtures("upstream")
@pytest.mark.parametrize("policy", POLICIES)
def test_a_request_is_read_passed_or_refused(trials: Trials, policy: str) -> None:
    assert trials.requests(policy)
    assert {key: outcome for key, outcome in trials.wrong.items() if key[:2] == ("request", policy)} == {}


@pytest.mark.usefixtures("upstream")
@pytest.mark.parametrize("policy", POLICIES)
def test_a_response_is_read_passed_or_refused(trials: Trials, policy: str) -> None:
    assert trials.responses(policy)
    assert {key: outcome for key, outcome in trials.wrong.items() if key[:2] == ("response", policy)} == {}


@pytest.mark.usefixtures("upstream")
def test_the_page_has_the_outcomes_of_this_run(trials: Trials, request: pytest.FixtureRequest) -> None:
    outcomes = {
        "request": {policy: trials.requests(policy) for policy in POLICIES},
        "response": {policy: trials.responses(policy) for policy in POLICIES},
    }
    page = replace_tables(PAGE.read_text(), outcomes)
    if request.config.getoption("--update"):
        PAGE.write_text(page)
    assert PAGE.read_text() == page, "pytest --update writes it anew"


def reads_responses(policy: str) -> bool:
    modes = yaml.safe_load((folder_of(policy) / "policy-definition.yaml").read_text())["processingMode"]
    return "responseBodyMode" in modes and modes["responseBodyMode"] != "SKIP"


WHOLE = {
    b"application/json": JSON.encode(),
    b"application/xml": XML.encode(),
    b"application/x-ndjson": f"{JSON}\n".encode(),
    b"text/csv": f"name,mail\nada,{MAIL}\n".encode(),
}


@pytest.mark.parametrize("policy", [policy for policy in POLICIES if reads_responses(policy)])
@pytest.mark.parametrize("asked", ["bytes=0-0,1-", "bytes=0-12", "bytes=12-", "lines=1-2"])
def test_no_range_request_bypasses_a_policy(gateway: Gateway, upstream: Upstream, policy: str, asked: str) -> None:
    """An upstream that serves ranges is asked for the whole; a partial answer is refused."""
    asks = {"range": asked, "if-range": '"v1"'}
    with httpx.Client(base_url=f"{gateway.url}/{policy}", timeout=30) as client:
        for media_type in WHOLE:
            upstream.reply = range_server(media_type)
            upstream.received.clear()
            answer = client.get("/x", headers=asks)
            (request,) = upstream.received
            assert [request.value(name) for name in asks] == [None, None]
            assert answer.status_code in {200, 502}
            assert "accept-ranges" not in answer.headers
            assert not leaks(policy, "response", Shape(media_type, b""), answer.content)
            upstream.reply = range_server(media_type, always=True)
            assert client.get("/x").status_code == 502


def range_server(media_type: bytes, *, always: bool = False) -> Callable[[Recorded], Reply]:
    """An upstream that serves ranges of a document: where one is asked for, or always."""
    whole = WHOLE[media_type]
    headers = [(b"content-type", media_type), (b"accept-ranges", b"bytes"), (b"etag", b'"v1"')]
    part = [*headers, (b"content-range", f"bytes 1-{len(whole) - 1}/{len(whole)}".encode())]

    def reply(request: Recorded) -> Reply:
        if always or request.value("range"):
            return Reply(206, part, whole[1:])
        return Reply(200, headers, whole)

    return reply


def response_of(client: httpx.Client) -> tuple[int, bytes, bool]:
    """The status, the body as far as it came, and whether it is complete.

    A response refused after its beginning has passed is cut off.
    """
    data = b""
    with client.stream("POST", "/x", json={}) as answer:
        try:
            for chunk in answer.iter_raw():
                data += chunk
        except httpx.RemoteProtocolError:
            return answer.status_code, data, False
    return answer.status_code, data, True


def headers_of(shape: Shape) -> list[tuple[bytes, bytes]]:
    headers = [
        (b"content-type", shape.content_type),
        (b"content-encoding", shape.encoding.encode()),
        (b"content-range", shape.content_range.encode()),
    ]
    return [(name, value) for name, value in headers if value]


def answer_of(shape: Shape) -> Callable[[Recorded], Reply]:
    status = 206 if shape.content_range else 200
    return lambda _: Reply(status, headers_of(shape), shape.body)
