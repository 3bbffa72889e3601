"""A forbidden action is an error of its policy, named in the log and hidden from the client."""

from __future__ import annotations

import httpx
import pytest

from e2e.kit.gateway import Gateway, Json, api, attach, eventually, fresh_name
from e2e.kit.upstream import Reply, Upstream
from e2e.kit.wire import Shape, http1


@pytest.mark.parametrize("when", ["request", "response"])
@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("crlf", ["misbehave", "x-a"]),
        ("escape", ["misbehave", "x-a", "control characters"]),
        ("pseudo", ["misbehave", ":status"]),
        ("set-length", ["misbehave", "content-length"]),
        ("drop-length", ["misbehave", "content-length"]),
        ("string", ["misbehave", "str"]),
        ("coroutine", ["misbehave", "coroutine"]),
        ("exit", ["misbehave", "SystemExit"]),
    ],
)
def test_a_bad_action_is_500_and_named_in_the_log(
    gateway: Gateway, upstream: Upstream, how: str, words: list[str], when: str
) -> None:
    name = f"bad-{how}-{when}"
    gateway.deploy(api(name, upstream.url, [attach("misbehave", {"how": how, "when": when})]))
    answer = httpx.get(f"{gateway.url}/{name}/x")
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert len(upstream.received) == (when == "response")
    request_id = answer.json()["requestId"]

    def named() -> bool:
        texts = [str(record).lower() for record in gateway.find_records(requestId=request_id)]
        return any(all(word.lower() in text for word in words) for text in texts)

    eventually(f"the log names {words} for request {request_id}", named)


RAISES = attach("misbehave", {"how": "raise", "when": "request"})
RETURNS = attach("misbehave", {"how": "string", "when": "request"})
WAITS = attach("linger", {"seconds": 20}, timeout="300ms")
SLEEPS = attach("sleep", {"seconds": 1}, timeout="300ms")


def errors(gateway: Gateway, request_id: str) -> list[Json]:
    return [line for line in gateway.find_records(requestId=request_id) if line["level"] == "error"]


@pytest.mark.parametrize(
    ("policy", "status", "message", "words"),
    [
        (RAISES, 500, "on_request failed: RuntimeError: secret detail", ["misbehave/policy.py:", "raise RuntimeError"]),
        (WAITS, 504, "on_request timed out: no answer after 0.3", ["linger/policy.py:", "await asyncio.sleep"]),
        (SLEEPS, 504, "on_request timed out: no answer after 0.3", ["sleep/policy.py:", "time.sleep"]),
        (RETURNS, 500, "policy failed", ["str"]),
    ],
    ids=["raises", "waits", "sleeps", "returns"],
)
def test_a_failure_is_one_line_with_its_place(
    gateway: Gateway, upstream: Upstream, policy: Json, status: int, message: str, words: list[str]
) -> None:
    name, more = fresh_name("says"), fresh_name("says-more")
    gateway.deploy(api(name, upstream.url, [policy]))
    answer = httpx.get(f"{gateway.url}/{name}/x")
    assert answer.status_code == status
    request_id = answer.json()["requestId"]
    eventually("the log has it", lambda: errors(gateway, request_id))
    gateway.deploy(api(more, upstream.url, [RETURNS]))
    later = httpx.get(f"{gateway.url}/{more}/x").json()["requestId"]
    eventually("the engine's later line is there", lambda: errors(gateway, later))
    (line,) = errors(gateway, request_id)
    assert str(line["message"]).startswith(message)
    assert (line["api"], line["operation"]) == (name, "GET /*")
    assert [word for word in words if word not in str(line)] == []


def test_a_path_outside_of_the_api_is_refused(gateway: Gateway, upstream: Upstream) -> None:
    gateway.deploy(api("bad-path", upstream.url, [attach("misbehave", {"how": "path"})]))
    assert httpx.get(f"{gateway.url}/bad-path/x").status_code == 500
    assert upstream.received == []


def test_on_error_continue_goes_on_without_the_policy(gateway: Gateway, upstream: Upstream) -> None:
    bad = attach("misbehave", {"how": "raise"}, onError="continue")
    gateway.deploy(api("lenient", upstream.url, [bad, attach("mark", {"name": "next"})]))
    assert httpx.get(f"{gateway.url}/lenient/x").status_code == 200
    assert upstream.received[0].values("x-order") == [b"next()"]


def test_header_bytes_arrive_as_they_were_sent(gateway: Gateway, upstream: Upstream) -> None:
    gateway.deploy(api("bytes", upstream.url, [attach("see-bytes")]))
    answer = http1(gateway.port, "/bytes/x", Shape("bytes", "GET", headers=[("x-bin", "\xff\xfe")]))
    assert answer.status == 200
    (request,) = upstream.received
    assert request.value("x-seen") == "fffe"
    assert request.values("x-bin") == [b"\xff\xfe"]


def test_repeated_set_cookie_is_never_joined(gateway: Gateway, upstream: Upstream) -> None:
    upstream.reply = lambda _: Reply(200, [("set-cookie", "up=1, 2"), ("set-cookie", "stream=2")])
    gateway.deploy(api("cookies", upstream.url, [attach("see-bytes")]))
    answer = http1(gateway.port, "/cookies/x", Shape("cookies", "GET", headers=[("cookie", "a=1"), ("cookie", "b=2")]))
    assert answer.values("set-cookie") == ["up=1, 2", "stream=2", "python=1", "snake=2"]


@pytest.mark.parametrize("length", [0, 1 << 20])
def test_empty_bodies_and_bodies_of_a_mebibyte_pass(gateway: Gateway, upstream: Upstream, length: int) -> None:
    gateway.deploy(api("sizes", upstream.url, [attach("body-length")]))
    body = b"b" * length
    assert httpx.post(f"{gateway.url}/sizes/x", content=body).status_code == 200
    assert (upstream.received[0].value("x-body-length"), upstream.received[0].body) == (str(length), body)
