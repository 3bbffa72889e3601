"""What a gateway has recorded is replayed: the same code gives the same, and other code exactly its differences."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from gatewright import testing

from e2e.gateway import Gateway, Json, api, attach
from e2e.recorded import recorded, recording
from e2e.test_chain import GO_HEADERS
from e2e.upstream import Recorded, Reply, Upstream

ROOT = Path(__file__).resolve().parent.parent
MARK = attach("mark", {"name": "one", "look": ["x-go-policy", "authorization"]})
REWRITE = attach("rewrite-json", {"field": "seen", "value": "ja · oui"})
SHARE = attach("share", {"value": {"list": [1, 2.5, None], "text": "é"}})
HEADER = attach("add-python-header", {"headerName": "x-policy", "headerValue": "python"})
STREAM = attach("pass-stream", {"pauseSeconds": 0, "reports": False})
MASK = attach("mask-pii-stream", {"kinds": ["email", "card", "phone"], "mask": "[masked]", "maxBytes": 1 << 20})
ANSWER = {"status": 418, "body": "no tea"}
CHAINS: dict[str, list[Json]] = {
    "bodies": [GO_HEADERS, REWRITE, MARK, SHARE, HEADER, GO_HEADERS],
    "answered": [GO_HEADERS, MARK, attach("answer", {"when": "request", **ANSWER}), HEADER],
    "replaced": [GO_HEADERS, REWRITE, attach("answer", {"when": "response", **ANSWER}), SHARE],
    "raised": [SHARE, GO_HEADERS, attach("misbehave", {"how": "raise", "when": "request"}), MARK],
    "late-raised": [SHARE, REWRITE, attach("misbehave", {"how": "raise", "when": "response"}), MARK],
    "passed-over": [SHARE, attach("misbehave", {"how": "raise", "when": "request"}, onError="continue"), REWRITE],
    "bad-path": [MARK, attach("misbehave", {"how": "path", "when": "request"}), REWRITE],
    "bad-header": [MARK, attach("misbehave", {"how": "crlf", "when": "response"}), REWRITE],
    "streamed": [GO_HEADERS, REWRITE, STREAM, HEADER],
    "masked": [HEADER, MASK, GO_HEADERS, SHARE],
}
REQUESTS = 8
SECRET = "hunter2-hunter2"  # noqa: S105 - looked for in what is recorded


def policy_folder(name: str) -> Path:
    folders = [ROOT / "sample-policies" / name, ROOT / "e2e" / "policies" / name]
    return next(folder for folder in folders if folder.exists())


def requests(chosen: random.Random) -> Iterator[Json]:
    """Of all kinds that policies treat in different ways."""
    documents = [
        b'{"a": 1, "password": "' + SECRET.encode() + b'"}',
        b'{"b": "\xc3\xa9"}',
        b"[1]",
        b"plain",
        b"\x00\xff",
    ]
    for number in range(REQUESTS):
        headers = [("authorization", f"Bearer {SECRET}"), ("x-many", "1"), ("x-other", "o"), ("x-many", "2")]
        body = chosen.choice(documents) if number % 2 else b""
        if body:
            headers.append(("content-type", "application/json" if body[:1] in b"{[" else "application/octet-stream"))
        if body and chosen.random() < 0.3:
            body = gzip.compress(body)
            headers.append(("content-encoding", "gzip"))
        yield {
            "method": "POST" if body else "GET",
            "url": f"/{number}?a={number}&token={SECRET}",
            "headers": headers[chosen.randrange(2) :],
            "content": body,
        }


def reply(request: Recorded) -> Reply:
    """JSON with what is looked for in it, now and then encoded, or without a body."""
    seed = random.Random(request.target)  # noqa: S311 - the same for the same request
    if seed.random() < 0.2:
        return Reply(204)
    body = json.dumps(
        {"mail": "ann@example.com", "target": len(request.target), "pad": "x" * seed.randrange(300)}
    ).encode()
    headers = [("content-type", "application/json"), ("set-cookie", "a=1"), ("set-cookie", "b=2")]
    if "gzip" in (request.value("accept-encoding") or ""):
        return Reply(seed.choice([200, 404]), [*headers, ("content-encoding", "gzip")], gzip.compress(body))
    return Reply(seed.choice([200, 404]), headers, body)


@pytest.fixture
def exchanges(gateway: Gateway, upstream: Upstream) -> dict[str, list[Json]]:
    """By chain: what was recorded, in no order."""
    upstream.reply = reply
    found: dict[str, list[Json]] = {}
    for name, policies in CHAINS.items():
        own = f"replay-{name}"
        gateway.deploy(api(own, upstream.url, policies))
        try:
            with recording(gateway, api=own):
                for request in requests(random.Random(name)):  # noqa: S311
                    httpx.request(**{**request, "url": f"{gateway.url}/{own}{request['url']}"})
                found[name] = recorded(gateway, REQUESTS, api=own)
        finally:
            gateway.remove(own)
    return found


def replayed(exchange: Json, attachment: Json, index: int) -> testing.Replay:
    policy = testing.load_policy(str(policy_folder(attachment["name"]) / "policy.py"))
    return testing.replay(exchange, policy, params=attachment["params"], index=index)


def test_the_same_code_differs_in_nothing(exchanges: dict[str, list[Json]]) -> None:
    """Each Python policy in each exchange: request and response, bodies, streams, answers and failures."""
    run = 0
    for name, policies in CHAINS.items():
        for exchange in exchanges[name]:
            for index, attachment in enumerate(policies):
                if attachment["name"] in ("add-headers", "log-message"):
                    continue
                result = replayed(exchange, attachment, index)
                assert not result.differences, f"{name}: {result.differences!r}"
                own = [one for one in exchange["executions"] if one["index"] == index]
                assert [one.phase for one in result.executions] == [one["phase"] for one in own]
                run += len(own)
    assert run > 300
