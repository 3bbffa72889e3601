"""`mapUpstreamPaths`: what an upstream says of its own paths is mapped to those of the API, where redirects stay."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from urllib.parse import urlsplit

import httpx
import pytest

from e2e.kit.gateway import Gateway, Json, api, attach
from e2e.kit.upstream import Recorded, Reply, Upstream

GATEWAY, UPSTREAM = "GATEWAY", "UPSTREAM"
"""Stand for the authorities that client and gateway, and gateway and upstream, speak of."""

AT_ROOT = {
    "/get": "/mapped/get",
    "/": "/mapped/",
    "/a?b=/c#/d": "/mapped/a?b=/c#/d",
    f"http://{UPSTREAM}/get?a=1": "/mapped/get?a=1",
    f"https://{UPSTREAM}": "/mapped/",
    f"//{UPSTREAM}/get": "/mapped/get",
    f"http://{GATEWAY}/get": f"http://{GATEWAY}/mapped/get",
    "/mapped/get": "/mapped/get",
    "/mappedelse": "/mapped/mappedelse",
    "get": "get",
    "../get": "../get",
    "?page=2": "?page=2",
    "https://other.example/get": "https://other.example/get",
    "//other.example/get": "//other.example/get",
    "mailto:ann@example.org": "mailto:ann@example.org",
    "": "",
}
BELOW_BASE = {
    "/store/get": "/mapped/get",
    "/store": "/mapped",
    "/store?a=1": "/mapped?a=1",
    "/storehouse": "/storehouse",
    "/login": "/login",
    f"http://{UPSTREAM}/store/get": "/mapped/get",
}
AT_THE_ROOT_OF_THE_GATEWAY = {
    "/store/get": "/get",
    "/store": "/",
    "/store?a=1": "/?a=1",
    "/store//other.example/get": "/other.example/get",
    "/store/\\other.example": "/other.example",
    "/login": "/login",
}
COOKIES = {
    "a=1; Path=/": "a=1; Path=/mapped",
    "a=1; path=/ ; Secure": "a=1; path=/mapped; Secure",
    "a=1; Path=/x/": "a=1; Path=/mapped/x/",
    "a=1; Secure; path = /x; HttpOnly": "a=1; Secure; path = /mapped/x; HttpOnly",
    "a=1; Path=/mapped/x": "a=1; Path=/mapped/x",
    "a=path=/x; Secure": "a=path=/x; Secure",
    "a=1": "a=1",
    "__Host-a=1; Secure; Path=/": "__Host-a=1; Secure; Path=/",
}


def deploy(gateway: Gateway, upstream: Upstream, base: str = "", **spec: object) -> Json:
    document = api("mapped", f"{upstream.url}{base}")
    document["spec"] |= {"mapUpstreamPaths": True, **spec}
    gateway.deploy(document)
    return document


def header_sender(upstream: Upstream, gateway: Gateway, name: str) -> Callable[[str], str]:
    """Asks for an answer with the header, of which it is the value."""
    authorities = {GATEWAY: urlsplit(gateway.url).netloc, UPSTREAM: urlsplit(upstream.url).netloc}

    def ask(text: str) -> str:
        for word, authority in authorities.items():
            text = text.replace(word, authority)
        upstream.reply = lambda _: Reply(200, [(name, text)])
        answer = httpx.get(f"{gateway.url}/mapped/x")
        value = answer.headers[name]
        for word, authority in authorities.items():
            value = value.replace(authority, word)
        return value

    return ask


@pytest.mark.parametrize("name", ["location", "content-location"])
@pytest.mark.parametrize("policies", [[], [attach("mark", {"name": "maps"})]], ids=["no policy", "a policy"])
def test_references_stay_in_the_api(gateway: Gateway, upstream: Upstream, name: str, policies: list[Json]) -> None:
    deploy(gateway, upstream, policies=policies)
    ask = header_sender(upstream, gateway, name)
    assert {text: ask(text) for text in AT_ROOT} == AT_ROOT
    deploy(gateway, upstream, "/store", policies=policies)
    assert {text: ask(text) for text in BELOW_BASE} == BELOW_BASE


def answer_with(reply: Reply, _: Recorded) -> Reply:
    return reply


def test_no_path_becomes_a_host(gateway: Gateway, upstream: Upstream) -> None:
    """The path behind the upstream's own may begin with two slashes."""
    deploy(gateway, upstream, "/store", context="/", hosts=["mapped.example"])
    hosts = {}
    for text in AT_THE_ROOT_OF_THE_GATEWAY:
        reply = Reply(200, [("location", text)])
        upstream.reply = partial(answer_with, reply)
        answer = httpx.get(f"{gateway.url}/x", headers={"host": "mapped.example"})
        hosts[text] = answer.headers["location"]
    assert hosts == AT_THE_ROOT_OF_THE_GATEWAY


def test_cookies_are_sent_to_the_api(gateway: Gateway, upstream: Upstream) -> None:
    deploy(gateway, upstream)
    upstream.reply = lambda _: Reply(200, [("set-cookie", line) for line in COOKIES])
    assert httpx.get(f"{gateway.url}/mapped/x").headers.get_list("set-cookie") == list(COOKIES.values())


def test_a_client_that_follows_redirects_arrives(gateway: Gateway, upstream: Upstream) -> None:
    """Through a policy, with a cookie that the upstream asks for again."""
    deploy(gateway, upstream, policies=[attach("mark", {"name": "follows"})])

    def reply(request: Recorded) -> Reply:
        if request.target == "/done":
            return Reply(200, body=(request.value("cookie") or "").encode())
        return Reply(302, [("location", "/done"), ("set-cookie", "seen=1; Path=/done")])

    upstream.reply = reply
    with httpx.Client(follow_redirects=True) as client:
        assert client.get(f"{gateway.url}/mapped/x").text == "seen=1"


def test_cookies_of_other_paths_of_the_upstream_stay(gateway: Gateway, upstream: Upstream) -> None:
    """The root is another path than that at which the upstream is asked."""
    deploy(gateway, upstream, "/store")
    lines = {"a=1; Path=/": "a=1; Path=/", "a=1; Path=/store": "a=1; Path=/mapped", "a=1; Path=/x": "a=1; Path=/x"}
    upstream.reply = lambda _: Reply(200, [("set-cookie", line) for line in lines])
    assert httpx.get(f"{gateway.url}/mapped/x").headers.get_list("set-cookie") == list(lines.values())


def test_an_upstream_expires_its_cookie_without_a_path(gateway: Gateway, upstream: Upstream) -> None:
    """A client gives a cookie without Path the folder of the request's path: that must be where "/" was mapped to."""
    deploy(gateway, upstream)
    lines = {"/set": "seen=1; Path=/", "/expire": "seen=; Max-Age=0"}
    upstream.reply = lambda request: Reply(200, [("set-cookie", lines[request.target])])
    with httpx.Client() as client:
        client.get(f"{gateway.url}/mapped/set")
        assert dict(client.cookies) == {"seen": "1"}
        client.get(f"{gateway.url}/mapped/expire")
        assert not client.cookies


def test_the_gateways_own_answers_are_not_rewritten(gateway: Gateway, upstream: Upstream) -> None:
    answer = {"status": 302, "headers": {"location": "/elsewhere"}}
    deploy(gateway, upstream, operations=[{"method": "GET", "path": "/x", "answer": answer}])
    assert httpx.get(f"{gateway.url}/mapped/x").headers["location"] == "/elsewhere"
    assert upstream.received == []


def test_without_the_field_nothing_is_rewritten(gateway: Gateway, upstream: Upstream) -> None:
    deploy(gateway, upstream, mapUpstreamPaths=False)
    ask = header_sender(upstream, gateway, "location")
    assert [ask(text) for text in AT_ROOT] == list(AT_ROOT)
