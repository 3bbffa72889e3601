"""A policy signs the path that the upstream will see; the upstream verifies the path that it received."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator

import httpx
import pytest

from e2e.kit.gateway import Gateway, Json, api, attach, running
from e2e.kit.policy_project import PolicyProject
from e2e.kit.upstream import Upstream

KEY = b"of the upstream"
SIGN = f"""\
import hmac
from sdk.policy import ImmediateResponse, UpstreamRequestModifications, UpstreamResponseModifications

def on_request(ctx, params):
    if ctx.upstream_path is None:
        return ImmediateResponse(503, body=b"not known yet")
    signed = f"{{ctx.method}} {{ctx.upstream_path}}?{{ctx.query}}".encode("utf-8", "surrogateescape")
    return UpstreamRequestModifications(set_headers={{"x-signature": hmac.new({KEY!r}, signed, "sha256").hexdigest()}})

def on_response(ctx, params):
    return UpstreamResponseModifications(set_headers={{"x-went": ctx.request.upstream_path or "nowhere"}})
"""
CHOOSE = """\
from sdk.policy import UpstreamRequestModifications

def on_request(ctx, params):
    return UpstreamRequestModifications(**params)

def on_response(ctx, params):
    return None
"""
OPERATIONS: list[Json] = [
    {"method": "GET", "path": "/plain/*"},
    {"method": "GET", "path": "/items/{id}/*", "rewrite": {"path": "/v2/{id}/*"}},
    {"method": "GET", "path": "/prefix/*", "rewrite": {"prefix": "/v3"}},
    {"method": "GET", "path": "/other/*", "upstream": "other"},
    {
        "method": "GET",
        "path": "/split/*",
        "split": [{"upstream": "main", "weight": 1}, {"upstream": "other", "weight": 1}],
    },
    {"method": "GET", "path": "/redirect/*", "redirect": {"path": "/elsewhere"}},
]
WENT = {
    "/plain/7?a=b": "/api/plain/7",
    "/plain/a%2Cb,c;d": None,
    "/plain/a%2Cb,c/": "/api/plain/a%2Cb,c/",
    "/items/7/lines/1": "/api/v2/7/lines/1",
    "/prefix/7": "/api/v3/prefix/7",
    "/other/7": "/next/other/7",
}


@pytest.fixture(scope="module")
def signing_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    project = PolicyProject(tmp_path_factory.mktemp("project"), "e2e-upstream-path")
    project.write_policy("sign", SIGN)
    project.write_policy("choose", CHOOSE)
    with running(None, tmp_path_factory.mktemp("state"), *project.arguments) as gateway:
        yield gateway


def deploy(gateway: Gateway, upstream: Upstream, name: str, *policies: Json) -> str:
    document = api(name, upstream.url, list(policies), OPERATIONS)
    document["spec"]["upstream"] = {"main": {"url": f"{upstream.url}/api"}, "other": {"url": f"{upstream.url}/next"}}
    gateway.deploy(document)
    return f"{gateway.url}/{name}"


def check_signature(upstream: Upstream, answer: httpx.Response, path: str) -> None:
    assert answer.status_code == 200, answer.text
    (received,) = upstream.received
    assert received.target.partition("?")[0] == path
    signed = f"GET {path}?{received.target.partition('?')[2]}".encode()
    assert received.value("x-signature") == hmac.new(KEY, signed, hashlib.sha256).hexdigest()
    assert answer.headers["x-went"] == path


def test_the_upstream_verifies_the_signed_path(signing_gateway: Gateway, upstream: Upstream) -> None:
    url = deploy(signing_gateway, upstream, "signed", attach("sign"))
    for target, path in WENT.items():
        upstream.reset()
        answer = httpx.get(f"{url}{target}")
        if path is None:
            assert (answer.status_code, upstream.received) == (400, []), "paths that are read in two ways are refused"
        else:
            check_signature(upstream, answer, path)


def test_an_earlier_policys_path_is_signed(signing_gateway: Gateway, upstream: Upstream) -> None:
    chosen = attach("choose", {"upstream": "other", "path": "/chosen/split/x%2Cy"})
    url = deploy(signing_gateway, upstream, "chosen", chosen, attach("sign"))
    upstream.reset()
    check_signature(upstream, httpx.get(f"{url}/split/7"), "/next/split/x%2Cy")


def test_an_undecided_or_missing_upstream_path_is_none(signing_gateway: Gateway, upstream: Upstream) -> None:
    url = deploy(signing_gateway, upstream, "undecided", attach("sign"))
    upstream.reset()
    for path in ("/split/7", "/redirect/7"):
        answer = httpx.get(f"{url}{path}")
        assert (answer.status_code, answer.text) == (503, "not known yet")
    assert upstream.received == []
