"""The routing rules of operations, by the requests of targets and the answers of clients."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator

import httpx
import pytest

from e2e.kit.gateway import Gateway, Json, api, attach, eventually
from e2e.kit.targets import Target, targets
from e2e.kit.wire import send_raw

MANY = 2000


@pytest.fixture(scope="module")
def pools() -> Iterator[list[Target]]:
    with targets("main", "canary", "shadow") as members:
        yield members


@pytest.fixture
def three_targets(pools: list[Target]) -> list[Target]:
    for target in pools:
        target.clear()
    return pools


def api_of_pools(name: str, pools: list[Target], operations: list[Json], *policies: Json, **spec: object) -> Json:
    document = api(name, pools[0].url, list(policies), operations)
    document["spec"]["upstream"] = {target.name: {"url": target.url} for target in pools}
    document["spec"] |= spec
    return document


def get(path: str, **more: object) -> Json:
    return {"method": "GET", "path": path, **more}


def test_an_operation_names_its_pool(gateway: Gateway, three_targets: list[Target]) -> None:
    gateway.deploy(api_of_pools("named", three_targets, [get("/a"), get("/b", upstream="canary")]))
    assert httpx.get(f"{gateway.url}/named/a").text == "main"
    assert httpx.get(f"{gateway.url}/named/b").text == "canary"


def test_a_split_has_its_shares(gateway: Gateway, three_targets: list[Target]) -> None:
    weights = [
        {"upstream": "main", "weight": 7},
        {"upstream": "canary", "weight": 2},
        {"upstream": "shadow", "weight": 1},
    ]
    gateway.deploy(api_of_pools("split", three_targets, [get("/own", upstream="shadow"), get("/a")], split=weights))
    with httpx.Client(base_url=gateway.url) as client:
        shares = Counter(client.get("/split/a").text for _ in range(MANY))
        assert client.get("/split/own").text == "shadow"
    for weight in weights:
        # Five standard deviations of a binomial: one run in a million is outside by chance.
        share = int(str(weight["weight"])) / 10
        allowed = 5 * (share * (1 - share) * MANY) ** 0.5
        assert abs(shares[str(weight["upstream"])] - share * MANY) < allowed, shares


def test_a_mirror_receives_a_copy_and_its_answers_are_dropped(gateway: Gateway, three_targets: list[Target]) -> None:
    main, _, shadow = three_targets
    shadow.status, shadow.seconds = 500, 0.2
    own = [{"method": "POST", "path": "/{id}", "mirror": [{"upstream": "shadow"}], "rewrite": {"path": "/v2/{id}"}}]
    gateway.deploy(api_of_pools("mirror", three_targets, own, attach("mark", {"name": "m"})))
    for body in (b"", b"small", b"x" * 300_000):
        shadow.clear()
        main.clear()
        answer = httpx.post(f"{gateway.url}/mirror/7?a=b", content=body, headers={"x-own": "1"})
        assert (answer.status_code, answer.text) == (200, "main")
        eventually("a copy", lambda: shadow.count == 1)
        assert shadow.heads[0][:2] == main.heads[0][:2] == ("POST", "/v2/7?a=b")
        assert shadow.bodies == main.bodies == [body]
        copied, sent = shadow.heads[0][2], main.heads[0][2]
        assert (copied["x-own"], copied["x-order"]) == ("1", sent["x-order"])
        assert (copied["host"], sent["host"]) == (shadow.url[7:], main.url[7:])


def test_a_mirror_receives_the_body_that_policies_changed(gateway: Gateway, three_targets: list[Target]) -> None:
    main, _, shadow = three_targets
    own = [{"method": "POST", "path": "/a", "mirror": [{"upstream": "shadow"}]}]
    policy = attach("rewrite-json", {"field": "seen", "value": "yes"})
    gateway.deploy(api_of_pools("mirrored-body", three_targets, own, policy))
    answer = httpx.post(f"{gateway.url}/mirrored-body/a", json={"a": 1})
    assert answer.status_code in (200, 502), answer.text  # the answer is no JSON, which is not what this is about
    eventually("a copy", lambda: shadow.count == 1)
    assert shadow.bodies == main.bodies
    assert main.bodies[0] != b'{"a":1}'


def test_a_mirror_receives_its_share(gateway: Gateway, three_targets: list[Target]) -> None:
    own = [get("/a", mirror=[{"upstream": "shadow", "percent": 10}])]
    gateway.deploy(api_of_pools("mirror-part", three_targets, own))
    with httpx.Client(base_url=gateway.url) as client:
        for _ in range(MANY):
            assert client.get("/mirror-part/a").text == "main"
    eventually("the last copy has come", lambda: gateway.cluster_stat("mirror-part", "upstream_rq_active") == 0)
    assert abs(three_targets[2].count - MANY / 10) < 5 * (0.09 * MANY) ** 0.5


def test_a_mirror_that_is_gone_affects_no_request(gateway: Gateway, three_targets: list[Target]) -> None:
    document = api_of_pools("mirror-gone", three_targets, [get("/a", mirror=[{"upstream": "gone"}])])
    document["spec"]["upstream"]["gone"] = {"url": "http://127.0.0.1:9"}
    gateway.deploy(document)
    with httpx.Client(base_url=gateway.url) as client:
        assert {client.get("/mirror-gone/a").text for _ in range(20)} == {"main"}


@pytest.mark.parametrize(
    ("path", "rewrite", "asked", "sent"),
    [
        ("/{id}", {"path": "/v2/items/{id}"}, "/7?a=b", "/v2/items/7?a=b"),
        ("/{a}/{b}", {"path": "/{b}/x/{a}"}, "/1/2", "/2/x/1"),
        ("/files/*", {"path": "/static/*"}, "/files/a/b", "/static/a/b"),
        ("/files/*", {"path": "/static/*"}, "/files", "/static"),
        ("/files/*", {"path": "/*"}, "/files/a/b", "/a/b"),
        ("/files/*", {"path": "/*"}, "/files", "/"),
        ("/{id}/*", {"path": "/all/{id}/*"}, "/7/x/y", "/all/7/x/y"),
        ("/{id}/*", {"path": "/fixed"}, "/7/x/y", "/fixed"),
        ("/", {"path": "/top/"}, "", "/top/"),
        ("/{id}", {"path": "/b/{id}"}, "/a%20b", "/b/a%20b"),
        ("/a:b/{id}", {"path": "/b/{id}"}, "/a%3Ab/7", "/b/7"),
        ("/{id}", {"prefix": "/v2"}, "/7?a=b", "/v2/7?a=b"),
        ("/{id}", {"prefix": "/"}, "/7", "/7"),
        ("/{id}", {"host": "other.example:81"}, "/7", "/7"),
    ],
)
def test_a_path_is_rewritten(
    gateway: Gateway, three_targets: list[Target], path: str, rewrite: Json, asked: str, sent: str
) -> None:
    gateway.deploy(api_of_pools("rewritten", three_targets, [get(path, rewrite=rewrite)]))
    assert httpx.get(f"{gateway.url}/rewritten{asked}").status_code == 200
    ((_, target, headers),) = three_targets[0].heads
    assert target == sent
    assert headers["host"] == rewrite.get("host", three_targets[0].url[7:])


def test_a_rewrite_goes_behind_the_base_path_and_with_a_policys_path(
    gateway: Gateway, three_targets: list[Target]
) -> None:
    policy = attach("retarget", {"path": "/based/other"})
    document = api_of_pools("based", three_targets, [get("/{id}", rewrite={"path": "/v2/{id}"})], policy)
    document["spec"]["upstream"] = {"main": {"url": f"{three_targets[0].url}/api"}}
    gateway.deploy(document)
    assert httpx.get(f"{gateway.url}/based/7").status_code == 200
    assert three_targets[0].heads[0][1] == "/api/v2/other"


@pytest.mark.parametrize(
    ("redirect", "asked", "status", "location"),
    [
        ({"path": "/redirected/new/{id}"}, "/old/7?a=b", 302, "http://{gateway}/redirected/new/7?a=b"),
        ({"path": "/x/{id}", "host": "other.example"}, "/old/7", 302, "http://other.example/x/7"),
        ({"scheme": "https", "status": 308}, "/old/7", 308, "https://{gateway}/redirected/old/7"),
        ({"scheme": "https", "port": 8443}, "/old/7", 302, "https://127.0.0.1:8443/redirected/old/7"),
        ({"host": "o.example", "port": 81, "status": 301}, "/old/7", 301, "http://o.example:81/redirected/old/7"),
        ({"path": "/redirected/new/x", "status": 303}, "/old/7", 303, "http://{gateway}/redirected/new/x"),
        ({"path": "/redirected/new/x", "status": 307}, "/old/7", 307, "http://{gateway}/redirected/new/x"),
    ],
)
def test_a_client_is_redirected(
    gateway: Gateway, three_targets: list[Target], redirect: Json, asked: str, status: int, location: str
) -> None:
    gateway.deploy(api_of_pools("redirected", three_targets, [get("/old/{id}", redirect=redirect), get("/new/{id}")]))
    answer = httpx.get(f"{gateway.url}/redirected{asked}")
    expected = location.replace("{gateway}", gateway.url[7:])
    assert (answer.status_code, answer.headers["location"]) == (status, expected)
    assert three_targets[0].count == 0
    if location.startswith("http://{gateway}"):
        followed = httpx.get(f"{gateway.url}/redirected{asked}", follow_redirects=True)
        assert (followed.status_code, followed.text) == (200, "main")


def test_a_redirect_keeps_the_text_of_the_wildcard(gateway: Gateway, three_targets: list[Target]) -> None:
    gateway.deploy(
        api_of_pools("moved", three_targets, [get("/old/*", redirect={"path": "/moved/new/*"}), get("/new/*")])
    )
    for path, sent in (("/old/a/b?c=d", "/new/a/b?c=d"), ("/old", "/new")):
        three_targets[0].clear()
        assert httpx.get(f"{gateway.url}/moved{path}", follow_redirects=True).status_code == 200
        assert three_targets[0].heads[0][1] == sent


def test_policies_run_before_an_answer_and_a_redirect(gateway: Gateway, three_targets: list[Target]) -> None:
    own = [get("/denied", policies=[attach("deny-headers")], answer={"body": "secret"}),
           get("/moved", policies=[attach("deny-headers")], redirect={"path": "/x"}),
           get("/said", policies=[attach("mark", {"name": "m"})], answer={"body": "said"})]  # fmt: skip
    gateway.deploy(api_of_pools("answers-denied", three_targets, own))
    for path in ("denied", "moved"):
        answer = httpx.get(f"{gateway.url}/answers-denied/{path}")
        assert (answer.status_code, answer.headers["x-denied-by"]) == (403, "deny-headers")
    answer = httpx.get(f"{gateway.url}/answers-denied/said")
    assert (answer.text, answer.headers["x-order"]) == ("said", "m()")


@pytest.mark.parametrize(
    "rule",
    [
        {
            "status": 200,
            "headers": {"content-type": "application/json", "x-per": "100% %REQ(:path)%"},
            "body": '{"a": "%"}',
        },
        {"status": 405, "headers": {"allow": "POST"}, "body": "not so"},
        {"status": 404, "body": "none"},
        {"status": 503, "headers": {"retry-after": "7"}},
        {"status": 204},
        {"status": 200, "body": "ä" * 16_384},
    ],
    ids=lambda rule: str(rule["status"]),
)
def test_an_operation_answers_itself(gateway: Gateway, three_targets: list[Target], rule: Json) -> None:
    gateway.deploy(api_of_pools("answered", three_targets, [get("/a", answer=rule)]))
    answer = httpx.get(f"{gateway.url}/answered/a")
    assert (answer.status_code, answer.text) == (rule["status"], rule.get("body", ""))
    for name, value in rule.get("headers", {}).items():
        assert answer.headers.get_list(name) == [value]
    if rule.get("body") and "content-type" not in rule.get("headers", {}):
        assert answer.headers["content-type"] == "text/plain"
    assert three_targets[0].count == 0


def test_an_api_that_answers_all_itself_needs_no_main(gateway: Gateway, three_targets: list[Target]) -> None:
    document = api_of_pools(
        "no-main", three_targets, [get("/a", answer={"body": "here"}), get("/b", upstream="canary")]
    )
    del document["spec"]["upstream"]["main"]
    gateway.deploy(document)
    assert httpx.get(f"{gateway.url}/no-main/a").text == "here"
    assert httpx.get(f"{gateway.url}/no-main/b").text == "canary"


@pytest.mark.parametrize("policies", [[], [attach("mark", {"name": "m"})]], ids=["plain", "policies"])
def test_a_stream_timeout_ends_an_exchange(gateway: Gateway, three_targets: list[Target], policies: list[Json]) -> None:
    gateway.deploy(api_of_pools("cut", three_targets, [get("/a", streamTimeout="300ms")], *policies))
    three_targets[0].seconds = 2
    answer = httpx.get(f"{gateway.url}/cut/a")
    assert (answer.status_code, answer.headers["content-type"]) == (504, "application/problem+json")
    assert json.loads(answer.text)["status"] == 504


def handshake(gateway: Gateway, path: str) -> int:
    lines = ["GET " + path + " HTTP/1.1", "host: a", "connection: upgrade", "upgrade: websocket",
             "sec-websocket-version: 13", "sec-websocket-key: eA==", "", ""]  # fmt: skip
    return send_raw(gateway.port, "\r\n".join(lines).encode()).status


def test_an_operation_may_refuse_websockets(gateway: Gateway, three_targets: list[Target]) -> None:
    own = [get("/a", websocket=False), get("/b"), get("/c", websocket=True)]
    gateway.deploy(api_of_pools("sockets", three_targets, own, websocket=False))
    assert handshake(gateway, "/sockets/a") == 403
    assert handshake(gateway, "/sockets/b") == 403
    assert three_targets[0].count == 0
    assert handshake(gateway, "/sockets/c") == 200
