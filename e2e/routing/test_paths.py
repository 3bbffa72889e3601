"""A path has many spellings that an upstream decodes alike: none of them passes the policies of an operation by."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator
from urllib.parse import quote, unquote

import pytest

from e2e.kit.gateway import Gateway, Json, api, attach, eventually
from e2e.kit.upstream import Upstream
from e2e.kit.wire import Shape, http1, http2, send_raw

GET = Shape("spelling", "GET")
LITERALS: tuple[str, ...] = (
    "users:delete",
    "q!r",
    "u@v",
    "a,b=c",
    "(x)'$&+*",
    "café",
    "a b",
    "x[1]",
    "{t}|^`",
    "50%",
    "admin.x",
)
LOOSE_LITERALS: tuple[str, ...] = ("a;b", ";", "a%41")
"""Spellings that an API with strictPaths refuses."""


def quote_literal(literal: str) -> str:
    """How a definition writes it."""
    return quote(literal, safe="!$&'()+,;=:@~")


def denying_api(name: str, upstream: Upstream, literals: tuple[str, ...], **spec: object) -> Json:
    """Each literal is denied, at the end of a path, in its middle and with a parameter; all else is open."""
    deny = [attach("deny-headers")]
    paths = [f"/{quote_literal(literal)}{rest}" for literal in literals for rest in ("", "/x", "/{id}/y")]
    own = [{"method": "GET", "path": path, "policies": deny} for path in paths]
    document = api(name, upstream.url, [], [*own, {"method": "GET", "path": "/*"}, {"method": "GET", "path": "/{id}"}])
    document["spec"] |= spec
    return document


def spellings(literal: str, chosen: random.Random) -> Iterator[str]:
    """Ways to write it that are decoded alike: each character in each of its own, and all of them mixed."""
    ways = [list(spellings_of(character)) for character in literal]
    plain = [spellings_of_character[0] for spellings_of_character in ways]
    for place, choices in enumerate(ways):
        for spelling in choices:
            yield "".join([*plain[:place], spelling, *plain[place + 1 :]])
    for _ in range(10):
        yield "".join(chosen.choice(choices) for choices in ways)


def spellings_of(character: str) -> Iterator[str]:
    pairs = [f"{byte:02x}" for byte in character.encode()]
    if character.isascii() and character not in "% #?/\\":
        yield character
    for cases in itertools.product((str.lower, str.upper), repeat=len(pairs)):
        yield "".join(f"%{case(pair)}" for case, pair in zip(cases, pairs, strict=True))


@pytest.mark.parametrize("strict", [True, False])
def test_no_spelling_of_a_denied_path_passes(gateway: Gateway, upstream: Upstream, strict: bool) -> None:
    literals = LITERALS if strict else LITERALS + LOOSE_LITERALS
    gateway.deploy(denying_api("spelled", upstream, literals, strictPaths=strict))
    chosen, count = random.Random(7), 0  # noqa: S311 - no secret
    for literal in literals:
        for text in {*spellings(literal, chosen)}:
            assert unquote(text) == literal
            for rest in ("", "/x", "/%78", "/7/y"):
                count += 1
                answer = http1(gateway.port, f"/spelled/{text}{rest}", GET)
                assert answer.status == 403, (text, rest, answer)
    assert count > 500
    assert upstream.received == []


def test_no_spelling_passes_over_http2_either(gateway: Gateway, upstream: Upstream) -> None:
    gateway.deploy(denying_api("spelled-h2", upstream, ("u@v", "café", "{t}")))
    chosen = random.Random(7)  # noqa: S311 - no secret
    for literal in ("u@v", "café", "{t}"):
        for text in {*spellings(literal, chosen), literal}:
            assert http2(gateway.port, f"/spelled-h2/{text}", GET).status == 403, text
    assert upstream.received == []


# ---------------------------------------------------------------- strictPaths

DOUBTFUL = [
    "/mix/secret;x", "/mix/secret;", "/mix/secret%3Bx", "/mix/secret%3bx", "/mix;a=b/secret", "/mix/;/secret",
    "/mix/%2Fsecret", "/mix%2fsecret", "/mix%5Csecret", "/mix/..%2fx", "/mix/%252e%252e/x", "/mix/%2573ecret",
    "/mix/%25%37%33ecret", "/mix/%%373ecret", "/mix/secret%252F", "/mix/%u0073ecret", "/mix/secret%", "/mix/secret%2",
    "/mix/%zz", "/mix/%2e%2e;/secret", "/mix/.%2e;x/secret",
]  # fmt: skip


def mixed_api(name: str, upstream: Upstream, **spec: object) -> Json:
    deny = [attach("deny-headers")]
    document = api(name, upstream.url, [], [
        {"method": "GET", "path": "/mix/secret", "policies": deny},
        {"method": "GET", "path": "/mix/{id}/lines", "policies": deny},
        {"method": "GET", "path": "/mix/both", "policies": deny},
        {"method": "GET", "path": "/mix/both/"},
        {"method": "GET", "path": "/mix/only/", "policies": deny},
        {"method": "GET", "path": "/*"},
        {"method": "POST", "path": "/{anything}/secret/"},
    ])  # fmt: skip
    document["spec"] |= spec
    return document


@pytest.mark.parametrize("path", DOUBTFUL)
def test_a_strict_api_refuses_what_upstreams_read_in_different_ways(
    gateway: Gateway, upstream: Upstream, path: str
) -> None:
    gateway.deploy(mixed_api("strict", upstream))
    answer = http1(gateway.port, f"/strict{path}?a=b;c%2f%252f", GET)
    assert (answer.status, answer.value("content-type")) == (400, "application/problem+json")
    assert json.loads(answer.body)["requestId"]
    assert http2(gateway.port, f"/strict{path}", GET).status == 400
    assert upstream.received == []


def test_a_strict_api_leaves_queries_and_other_encodings_alone(gateway: Gateway, upstream: Upstream) -> None:
    gateway.deploy(mixed_api("strict", upstream))
    for path in ("/x?a=;%2F%252e%", "/a%20b", "/a%3Ab", "/100%25", "/caf%C3%A9", "/a%25-b", "/x/", "/%2ehidden"):
        assert http1(gateway.port, f"/strict{path}", GET).status == 200, path
    targets_seen = [request.target for request in upstream.received]
    assert targets_seen == [
        "/x?a=;%2F%252e%",
        "/a%20b",
        "/a%3Ab",
        "/100%25",
        "/caf%C3%A9",
        "/a%25-b",
        "/x/",
        "/.hidden",
    ]


def test_in_a_strict_api_a_slash_at_the_end_makes_no_other_path(gateway: Gateway, upstream: Upstream) -> None:
    gateway.deploy(mixed_api("strict", upstream))
    for path in (
        "/mix/secret",
        "/mix/secret/",
        "/mix/secret//",
        "/mix/7/lines/",
        "/mix/both",
        "/mix/only",
        "/mix/only/",
    ):
        assert http1(gateway.port, f"/strict{path}", GET).status == 403, path
    assert http1(gateway.port, "/strict/mix/both/", GET).status == 200
    assert http1(gateway.port, "/strict/mix/secret/", Shape("other method", "PUT")).status == 405
    assert [request.target for request in upstream.received] == ["/mix/both/"]


def test_lenient_apis_accept_all_paths_but_escaped_slashes(gateway: Gateway, upstream: Upstream) -> None:
    gateway.deploy(mixed_api("loose", upstream, strictPaths=False))
    for path in ("/mix/secret;x", "/mix/secret%3bx", "/mix/%252e%252e/x", "/mix/secret/", "/mix/%zz"):
        assert http1(gateway.port, f"/loose{path}", GET).status == 200, path
        assert upstream.received[-1].target == path
    upstream.reset()
    sent_on = http1(gateway.port, "/loose%2Fmix/a%2f..%5csecret?b=%2F", GET)
    assert sent_on.status == 404  # no API has the context `/`
    sent_on = http1(gateway.port, "/loose/mix/a%2f..%5csecret?b=%2F", GET)
    assert (sent_on.status, sent_on.value("location")) == (307, "http://test.local/loose/mix/a/../secret?b=%2F")
    assert http1(gateway.port, "/loose/mix/a/../secret?b=%2F", GET).status == 403
    assert upstream.received == []


def test_policies_have_the_parameters_of_a_path(gateway: Gateway, upstream: Upstream) -> None:
    """As the client sent it, whatever policies have made of it; conditions have them too."""
    only = attach("add-headers", {"requestHeaders": [{"name": "x-blue", "value": "1"}]})
    only["when"] = 'request.path_params["tenant"] == "blue:1" && request.path_params["none"] == ""'
    elsewhere = attach("retarget", {"path": "/params/elsewhere/1/2"})
    paths = ("/{tenant}/items/{item-id}", "/files/{name}/*", "/plain")
    operations = [{"method": "GET", "path": path} for path in paths]
    gateway.deploy(api("params", upstream.url, [elsewhere, attach("identify"), only], operations))
    for path, parameters, blue in (
        ("/params/blue%3A1/items/7", "tenant=blue%3A1;item-id=7", "1"),
        ("/params/bl%C3%BCe/items/%ff%20", "tenant=bl%C3%BCe;item-id=%FF%20", ""),
        ("/params/a/../green/items/x,y?q=/z", "tenant=green;item-id=x%2Cy", ""),
        ("/params/files/a%2e/b/c", "name=a.", ""),
        ("/params/files/b", "name=b", ""),
        ("/params/plain", "", ""),
    ):
        upstream.reset()
        assert http1(gateway.port, path, GET).status == 200, path
        (request,) = upstream.received
        assert request.target.partition("?")[0] == "/elsewhere/1/2"
        sent = tuple(request.value(name) or "" for name in ("x-path-params", "x-blue"))
        assert sent == (parameters, blue), path


def test_a_refused_path_has_its_line_in_the_access_log_as_the_api_says(gateway: Gateway, upstream: Upstream) -> None:
    gateway.deploy(mixed_api("strict-seen", upstream))
    gateway.deploy(mixed_api("strict-unseen", upstream, accessLog="none"))
    for name in ("strict-unseen", "strict-seen"):
        assert http1(gateway.port, f"/{name}/a;b", GET).status == 400
    eventually("the line is there", lambda: gateway.access_records("strict-seen"))
    (line,) = gateway.access_records("strict-seen")
    assert (line["status"], line["route"], line["path"]) == (400, "strict-seen|400|", "/strict-seen/a;b")
    assert gateway.access_records("strict-unseen") == []


def test_paths_reach_routes_as_ascii(gateway: Gateway, upstream: Upstream) -> None:
    gateway.deploy(mixed_api("ascii", upstream, strictPaths=False))
    for number in (*range(0x21), *range(0x7F, 0x100)):
        request = b"GET /ascii/x%b HTTP/1.1\r\nhost: a\r\n\r\n" % (bytes([number]) + b"y")
        assert send_raw(gateway.port, request).status == 400 or number in b"\n\r ", hex(number)
    assert send_raw(gateway.port, b"GET /ascii/x%00y HTTP/1.1\r\nhost: a\r\n\r\n").status == 400
    for path in ("/ascii/x\x7fy", "/ascii/x\x01y", "/ascii/x%00y"):
        refused = http2(gateway.port, path, GET)
        assert refused.reset or refused.status == 400, path
    assert upstream.received == []
    assert send_raw(gateway.port, b'GET /ascii/"<>^`{|}!$ HTTP/1.1\r\nhost: a\r\n\r\n').status == 200
    assert upstream.received.pop().target == "/%22%3C%3E%5E%60%7B%7C%7D!$"
    assert http2(gateway.port, "/ascii/é", GET).status == 200
    assert upstream.received.pop().target == "/%C3%A9"


@pytest.mark.parametrize("segment", ["{p%d}", "{p%d}/a-plain-word", "{p%d}/a:b!c'd(e)f@g"])
def test_a_path_of_any_length_is_served(gateway: Gateway, upstream: Upstream, segment: str) -> None:
    """As long as the controller lets it be."""
    segments = [segment % number for number in range(1000)]
    path = ""
    while len(path) + len(segments[0]) < 1024:
        path += f"/{segments.pop(0)}"
    definition = api("long-paths", upstream.url, operations=[{"method": "GET", "path": path}])
    definition["spec"]["context"] = "/" + "long-paths-" * 93
    gateway.deploy(definition)
    target = path.replace("{", "").replace("}", "")
    assert http1(gateway.port, definition["spec"]["context"] + target, GET).status == 200
    assert [request.target for request in upstream.received] == [target]
