"""`when`: a policy runs for the exchanges for which its condition is true; the others make no way to an executor."""

from __future__ import annotations

import json
import shlex
import subprocess
import threading
from pathlib import Path

import httpx
import pytest

from e2e.kit.commands import run_explain
from e2e.kit.gateway import Gateway, Json, api, attach, eventually, fresh_name, mistakes_of, running
from e2e.kit.listening import write
from e2e.kit.markdown import blocks, page
from e2e.kit.places import ROOT
from e2e.kit.recorded import execution_members, record_exchanges, wait_for_exchanges
from e2e.kit.scraping import scrape
from e2e.kit.upstream import Recorded, Reply, Upstream

TABLE = json.loads((ROOT / "conformance" / "conditions.json").read_text())
BETA = 'request.headers["x-beta"] == "1" && request.method != "OPTIONS"'
PAGE = "docs/how-to/conditions.md"
METHODS = [{"method": method, "path": "/*"} for method in ("GET", "POST", "OPTIONS")]


def phases_marked(answer: httpx.Response, request: Recorded) -> tuple[bool, bool]:
    """Whether `mark` ran in the request phase, and in the response phase."""
    return bool(request.values("x-order")), "x-order" in answer.headers


def count_mark(gateway: Gateway, name: str) -> dict[str, int]:
    """The engine's own counters of `mark` in an API, all operations together."""
    stats = json.loads(gateway.admin("engine", "/stats"))["policies"]
    mine = [counter for counter in stats if counter["api"] == name and counter["policy"] == "mark:v1.0.0"]
    return {member: sum(counter[member] for counter in mine) for member in ("executions", "skipped")}


def test_a_policy_runs_where_its_condition_is_true(gateway: Gateway, upstream: Upstream) -> None:
    name = fresh_name("when-beta")
    mark = attach("mark", {"name": "beta"}, when=BETA)
    gateway.deploy(api(name, upstream.url, [mark], METHODS))
    cases: list[tuple[str, dict[str, str], bool]] = [
        ("GET", {"x-beta": "1"}, True),
        ("GET", {"X-BETA": "1"}, True),
        ("GET", {"x-beta": "0"}, False),
        ("GET", {}, False),
        ("OPTIONS", {"x-beta": "1"}, False),
    ]
    try:
        for method, headers, applies in cases:
            upstream.reset()
            answer = httpx.request(method, f"{gateway.url}/{name}/x", headers=headers)
            assert answer.status_code == 200
            (request,) = upstream.received
            assert phases_marked(answer, request) == (applies, applies), (method, headers)
        # Two phases of two exchanges, and no execution of the others.
        eventually("counts", lambda: count_mark(gateway, name) == {"executions": 4, "skipped": 3})
        metrics = scrape(gateway)
        assert metrics.value("gatewright_executions_total", api=name, policy="mark:v1.0.0") == 4
        assert metrics.value("gatewright_executions_skipped_total", api=name, policy="mark:v1.0.0") == 3
        assert metrics.value("gatewright_execution_waiting_seconds_count", api=name) == 4
    finally:
        gateway.remove(name)


def test_a_condition_lets_preflights_skip_a_policy_that_requires_a_key(gateway: Gateway, upstream: Upstream) -> None:
    guard = attach("python-deny", when='request.method != "OPTIONS"')
    gateway.deploy(api("when-preflight", upstream.url, [guard], METHODS))
    try:
        url = f"{gateway.url}/when-preflight/x"
        assert httpx.get(url).status_code == 401
        assert httpx.options(url).status_code == 200
        assert [request.method for request in upstream.received] == ["OPTIONS"]
    finally:
        gateway.remove("when-preflight")


def test_conditions_see_what_clients_send_and_policies_leave(gateway: Gateway, upstream: Upstream) -> None:
    """Each on an operation of its own, below one policy at API level that has changed the request."""
    conditions = {
        "joined": 'request.headers["x-many"] == "a,b"',
        "query": '"2" in request.query["a"] && request.query["b"] == [" x"]',
        "changed": 'request.headers["x-go-policy"] == "go"',
        "host": 'request.host == "shop.example.org"',
        "client": 'cidr("127.0.0.0/8").containsIP(request.client_ip) && request.scheme == "http"',
        "path": 'request.path == "/when-sees/path" && request.method == "GET"',
        "peer": 'request.peer.subject == "" && metadata["tier"] == null',
        "false": '"x-many" in request.headers && request.headers["x-many"] == "a"',
    }
    go = attach("add-headers", {"requestHeaders": [{"name": "X-Go-Policy", "value": "go"}], "responseHeaders": []})
    operations = [
        {"method": "GET", "path": f"/{name}", "policies": [attach("mark", {"name": name}, when=text)]}
        for name, text in conditions.items()
    ]
    gateway.deploy(api("when-sees", upstream.url, [go], operations))
    try:
        for name in conditions:
            upstream.reset()
            answer = httpx.get(
                f"{gateway.url}/when-sees/{name}?a=1&b=+x&a=2",
                headers=[("x-many", "a"), ("x-many", "b"), ("host", "Shop.Example.org:8080")],
            )
            assert answer.status_code == 200, name
            assert phases_marked(answer, upstream.received[0])[0] == (name != "false"), name
    finally:
        gateway.remove("when-sees")


def test_a_condition_without_an_answer_fails_closed(gateway: Gateway, upstream: Upstream) -> None:
    """Regardless of onError: a client could break the condition to bypass the policy."""
    name = fresh_name("when-broken")
    broken = attach("mark", {"name": "counts"}, when='int(request.headers["x-count"]) > 3', onError="continue")
    gateway.deploy(api(name, upstream.url, [broken]))
    try:
        url = f"{gateway.url}/{name}/x"
        assert httpx.get(url, headers={"x-count": "4"}).status_code == 200
        upstream.reset()
        with record_exchanges(gateway, api=name):
            answer = httpx.get(url, headers={"x-count": "many"})
            (exchange,) = wait_for_exchanges(gateway, api=name)
        assert answer.status_code == 500
        assert answer.headers["content-type"] == "application/problem+json"
        assert "x-count" not in answer.text
        assert upstream.received == []
        assert exchange["details"] == "policy_condition"
        assert execution_members(exchange, "phase", "outcome") == [("request", "failed")]
        assert exchange["executions"][0]["failure"]["class"] == "condition"
        assert scrape(gateway).value("gatewright_executions_total", api=name, outcome="condition") == 1
        eventually(
            "the log says why",
            lambda: [
                record
                for record in gateway.find_records(component="policy-engine", api=name)
                if "type conversion error" in json.dumps(record)
            ],
        )
        eventually(
            "the access log has it",
            lambda: [record for record in gateway.access_records(name) if record.get("details") == "policy_condition"],
        )
    finally:
        gateway.remove(name)


def test_a_body_is_not_buffered_for_a_policy_that_does_not_apply(gateway: Gateway, upstream: Upstream) -> None:
    """A body above the policy's limit, in both directions, that is not buffered."""
    small = attach("body-length", maxBodyBytes=10, when='request.headers["x-measure"] == "1"')
    answers = attach("response-length", maxBodyBytes=10, when='request.headers["x-measure"] == "1"')
    gateway.deploy(api("when-body", upstream.url, [small, answers]))
    body = b"0123456789" * 300_000
    try:
        url = f"{gateway.url}/when-body/x"
        with record_exchanges(gateway, api="when-body"):
            answer = httpx.post(url, content=body, timeout=30)
            (exchange,) = wait_for_exchanges(gateway, api="when-body")
        assert answer.status_code == 200
        assert answer.json()["length"] == len(body)
        assert [execution[1:] for execution in execution_members(exchange, "index", "phase", "outcome")] == [
            ("request", "skipped")
        ] * 2
        assert httpx.post(url, content=body, headers={"x-measure": "1"}, timeout=30).status_code == 413
    finally:
        gateway.remove("when-body")


def test_policies_that_did_not_apply_are_explained(gateway: Gateway, upstream: Upstream) -> None:
    gateway.deploy(api("when-explained", upstream.url, [attach("mark", {"name": "beta"}, when=BETA)]))
    try:
        with record_exchanges(gateway, api="when-explained"):
            httpx.get(f"{gateway.url}/when-explained/x")
            (exchange,) = wait_for_exchanges(gateway, api="when-explained")
            explanation = run_explain(gateway, exchange["id"])
        assert "mark:v1.0.0, request: skipped" in explanation
        assert f"did not apply: when {BETA}" in explanation
    finally:
        gateway.remove("when-explained")


def test_a_changed_condition_holds_from_its_deployment_on(gateway: Gateway, upstream: Upstream) -> None:
    """Under load no exchange has half a policy: what runs in the request phase runs in the response phase."""
    name = "when-changes"
    gateway.deploy(api(name, upstream.url, [attach("mark", {"name": "one"}, when='request.query["a"] == ["1"]')]))
    upstream.reply = _says_order
    halves: list[str] = []
    done = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=gateway.url) as client:
            while not done.is_set():
                answer = client.get(f"/{name}/x?a=1")
                if answer.status_code != 200 or ("x-order" in answer.headers) != (answer.headers["x-saw"] == "yes"):
                    halves.append(f"{answer.status_code} {answer.headers}")

    clients = [threading.Thread(target=ask) for _ in range(2)]
    for client in clients:
        client.start()
    try:
        for value in ("2", "1", "2"):
            changed = attach("mark", {"name": "one"}, when=f'request.query["a"] == ["{value}"]')
            gateway.deploy(api(name, upstream.url, [changed]))
            answer = httpx.get(f"{gateway.url}/{name}/x?a=1")
            assert ("x-order" in answer.headers) == (value == "1")
    finally:
        done.set()
        for client in clients:
            client.join()
        gateway.remove(name)
    assert not halves


def _says_order(request: Recorded) -> Reply:
    return Reply(200, [("x-saw", "yes" if request.values("x-order") else "no")])


def test_an_invalid_condition_is_refused_with_its_place(gateway: Gateway, upstream: Upstream) -> None:
    """All refused conditions of conformance/conditions.json at once, one on each operation: the controller reports the
    engine's words."""
    refusals = [case for case in TABLE["refused"] if case["when"]]
    operations: list[Json] = [
        {"method": "GET", "path": f"/{number}", "policies": [attach("mark", {"name": "x"}, when=case["when"])]}
        for number, case in enumerate(refusals)
    ]
    errors = mistakes_of(gateway, api("when-bad", upstream.url, [], operations))
    assert len(errors) == len(refusals)
    for number, case in enumerate(refusals):
        message = errors[f"spec.operations[{number}].policies[0].when"]
        assert case["says"] in message, message
        place = f"(at character {case.get('column')}" + (
            f" of its line {case['line']}" if case.get("line", 0) > 1 else ""
        )
        assert (place in message) == ("column" in case), message


@pytest.mark.parametrize("text", ["", "x" * 2049, 7])
def test_a_condition_that_is_no_text_is_refused(gateway: Gateway, upstream: Upstream, text: object) -> None:
    errors = mistakes_of(gateway, api("when-bad", upstream.url, [attach("mark", {"name": "x"}, when=text)]))
    assert "expected a condition in CEL" in errors["spec.policies[0].when"]


def test_the_pages_commands_print_what_it_shows(gateway: Gateway, upstream: Upstream, tmp_path: Path) -> None:
    """Applies its API and sends its requests by its own commands, with other addresses."""
    (sample,) = blocks(page(PAGE), "yaml")
    (tmp_path / "shop.yaml").write_text(sample.replace("http://shop.internal:8080", upstream.url))
    (commands,) = blocks(page(PAGE), "sh")
    apply, *requests = commands.replace("localhost:8080", gateway.url.removeprefix("http://")).splitlines()
    words = [*shlex.split(apply), "--run-dir", str(gateway.run_dir)]
    result = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    try:
        answers = [output_of(line) for line in requests]
        assert [answer.split()[1] for answer in answers] == ["401", "200", "200"]
        assert "x-beta: on" in answers[2]
        assert [request.value("x-beta") for request in upstream.received] == [None, "on"]
        assert not upstream.received[0].values("x-api-key")
    finally:
        gateway.remove("shop-v1")


def output_of(line: str) -> str:
    """The output of a command of the page."""
    words = shlex.split(line, comments=True)
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=True).stdout


def test_a_clients_address_has_one_form(build: Path, tmp_path: Path, upstream: Upstream) -> None:
    """A proxy that listens on both families names a client of IPv4 as one of IPv6."""
    file = write(tmp_path / "gateway.yaml", {"name": "http"}, trustedProxies={"hops": 1})
    inside = 'cidr("198.51.100.0/24").containsIP(request.client_ip) && request.client_ip == "198.51.100.7"'
    with running(build, tmp_path / "state", "--gateway", str(file)) as gateway:
        gateway.deploy(api("addresses", upstream.url, [attach("mark", {"name": "inside"}, when=inside)]))
        for address, applies in (("198.51.100.7", True), ("::ffff:198.51.100.7", True), ("::ffff:192.0.2.1", False)):
            upstream.reset()
            answer = httpx.get(f"{gateway.url}/addresses/x", headers={"x-forwarded-for": address})
            assert answer.status_code == 200, answer.text
            (request,) = upstream.received
            assert phases_marked(answer, request) == (applies, applies), address
