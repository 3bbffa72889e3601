"""The operation of a request by its method, its headers and its query: docs/reference/matching.md."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from e2e.kit.gateway import Gateway, Json, api, attach
from e2e.kit.upstream import Upstream
from e2e.kit.wire import Answer, Shape, http1, http2

TOKENS = ("PURGE", "PROPFIND", "LIST", "QUERY", "M-SEARCH", "list", "A|B%")
Ask = Callable[[int, str, Shape], Answer]
BOTH = pytest.mark.parametrize("ask", [http1, http2])


def operation(mark: str, method: str, path: str, **more: object) -> Json:
    """An operation that reports in x-order that it matched."""
    return {"method": method, "path": path, "policies": [attach("mark", {"name": mark})], **more}


def header(name: str, **condition: object) -> Json:
    return {"name": name, **condition}


def matched_operation(ask: Ask, gateway: Gateway, target: str, *headers: tuple[str, str], method: str = "GET") -> str:
    answer = ask(gateway.port, target, Shape("match", method, list(headers)))
    return (answer.value("x-order") or "").removesuffix("()") or str(answer.status)


@BOTH
def test_operations_of_one_path_differ_by_headers(gateway: Gateway, upstream: Upstream, ask: Ask) -> None:
    gateway.deploy(
        api("by-header", upstream.url, [], [
            operation("exact", "GET", "/x", headers=[header("X-Version", exact="2")]),
            operation("prefix", "GET", "/x", headers=[header("x-version", prefix="3.")]),
            operation("suffix", "GET", "/x", headers=[header("x-version", suffix="-BETA", ignoreCase=True)]),
            operation("contains", "GET", "/x", headers=[header("x-version", contains="canary")]),
            operation("regex", "GET", "/x", headers=[header("x-version", regex="[0-9]{4}")]),
            operation("both", "GET", "/x", headers=[header("x-version", exact="2"), header("x-team", present=True)]),
            operation("none", "GET", "/x", headers=[header("x-version", absent=True), header("x-old", exact="")]),
            operation("else", "GET", "/x"),
        ])
    )  # fmt: skip
    for expected, headers in {
        "exact": [("x-version", "2")],
        "prefix": [("x-version", "3.1")],
        "suffix": [("x-version", "9-Beta")],
        "contains": [("x-version", "a canary b")],
        "regex": [("x-version", "2026")],
        "both": [("x-version", "2"), ("x-team", "")],
        "none": [("x-old", "")],
    }.items():
        assert matched_operation(ask, gateway, "/by-header/x", *headers) == expected
        assert matched_operation(ask, gateway, "/by-header/x", *headers, method="HEAD") == expected
    for other in ([], [("x-version", "22")], [("x-version", "")], [("x-version", "20267")], [("x-old", "1")]):
        assert matched_operation(ask, gateway, "/by-header/x", *other) == "else", other
    # Of a header with several lines, one that fits is enough; a line is one value, whatever commas it has.
    assert matched_operation(ask, gateway, "/by-header/x", ("x-version", "9"), ("x-version", "2")) == "exact"
    assert matched_operation(ask, gateway, "/by-header/x", ("x-version", "9, 2")) == "else"


@BOTH
def test_operations_of_one_path_differ_by_query_in_any_spelling(gateway: Gateway, upstream: Upstream, ask: Ask) -> None:
    gateway.deploy(
        api("by-query", upstream.url, [], [
            operation("delete", "GET", "/x", query=[header("action", exact="delete all/é&+")]),
            operation("view", "GET", "/x", query=[header("action", prefix="view:")]),
            operation("number", "GET", "/x", query=[header("id", regex="[0-9]+")]),
            operation("empty", "GET", "/x", query=[header("action", exact="")]),
            operation("dry", "GET", "/x", query=[header("tag", present=True), header("dry", absent=True)]),
            operation("any", "GET", "/x", query=[header("action", present=True)]),
            operation("else", "GET", "/x"),
        ])
    )  # fmt: skip
    for query, expected in {
        "action=delete%20all/%C3%A9%26%2B": "delete",
        "b=1&action=%64elete+all%2f%c3%a9%26%2b&c": "delete",
        "action=view:1": "view",
        "action=vie%77%3a1&dry": "view",
        "id=42": "number",
        "action": "empty",
        "action=": "empty",
        "action=x": "any",
        "action=x&tag": "dry",
        "action=x&tag=1&dry=1": "any",
        "tag=1&dry": "else",
        "": "else",
        "actions=delete": "else",
        "b=action": "else",
        "b=1&c=action=delete": "else",
        "Action=view:": "else",
        "id=4x": "else",
    }.items():
        assert matched_operation(ask, gateway, f"/by-query/x?{query}", method="GET") == expected, query
    # Upstreams take the first of two, the last, or both, and decode names: none of that passes an operation by.
    for query in ("action=view:&action=42", "action=1&b&action", "%61ction=42", "action=1&actio%6E=2", "id=%34%32"):
        assert matched_operation(ask, gateway, f"/by-query/x?{query}") == "400", query
    answer = ask(gateway.port, "/by-query/x?action=1&action=2", Shape("twice", "GET"))
    problem = json.loads(answer.body)
    assert (answer.value("content-type"), problem["status"]) == ("application/problem+json", 400)
    assert problem["requestId"]


def test_with_loose_paths_the_first_of_two_parameters_counts(gateway: Gateway, upstream: Upstream) -> None:
    loose = api("loose-query", upstream.url, [], [
        operation("one", "GET", "/x", query=[header("v", exact="1")]), operation("else", "GET", "/x"),
    ])  # fmt: skip
    loose["spec"]["strictPaths"] = False
    gateway.deploy(loose)
    for query, expected in {"v=1&v=2": "one", "v=2&v=1": "else", "%76=1": "else", "v=%31": "one"}.items():
        assert matched_operation(http1, gateway, f"/loose-query/x?{query}") == expected, query


@BOTH
def test_a_request_that_fits_no_operation_falls_to_the_next_path_or_404(
    gateway: Gateway, upstream: Upstream, ask: Ask
) -> None:
    gateway.deploy(
        api("falls", upstream.url, [], [
            operation("narrow", "GET", "/a/x", headers=[header("x-v", exact="1")]),
            operation("wide", "GET", "/a/*"),
            operation("alone", "GET", "/b", headers=[header("x-v", exact="1")]),
            operation("post", "POST", "/b"),
            operation("options", "OPTIONS", "/b", headers=[header("x-v", exact="1")]),
        ])
    )  # fmt: skip
    matching = ("x-v", "1")
    assert matched_operation(ask, gateway, "/falls/a/x", matching) == "narrow"
    assert matched_operation(ask, gateway, "/falls/a/x") == "wide"
    assert matched_operation(ask, gateway, "/falls/a/x", method="POST") == "405"
    assert matched_operation(ask, gateway, "/falls/b", matching) == "alone"
    assert matched_operation(ask, gateway, "/falls/b", matching, method="HEAD") == "alone"
    assert matched_operation(ask, gateway, "/falls/b", method="POST") == "post"
    assert matched_operation(ask, gateway, "/falls/b", matching, method="OPTIONS") == "options"
    for method in ("GET", "HEAD"):
        answer = ask(gateway.port, "/falls/b", Shape("falls", method))
        assert (answer.status, answer.value("content-type")) == (404, "application/problem+json")
    preflight = ask(gateway.port, "/falls/b", Shape("falls", "OPTIONS"))
    assert (preflight.status, preflight.value("allow")) == (204, "GET, HEAD, OPTIONS, POST")
    refused = ask(gateway.port, "/falls/b", Shape("falls", "DELETE", [matching]))
    assert (refused.status, refused.value("allow")) == (405, "GET, HEAD, OPTIONS, POST")


@BOTH
def test_any_token_is_a_method(gateway: Gateway, upstream: Upstream, ask: Ask) -> None:
    gateway.deploy(
        api("tokens", upstream.url, [], [
            *(operation(token, token, "/x") for token in TOKENS),
            operation("named", "GET", "/any"),
            operation("any", "*", "/any"),
            operation("open", "*", "/open/*"),
        ])
    )  # fmt: skip
    typed = [("content-type", "text/plain"), ("content-length", "0")]  # without a content type Envoy refuses a QUERY
    for method in TOKENS:
        assert matched_operation(ask, gateway, "/tokens/x", *typed, method=method) == method
        assert upstream.received[-1].method == method
    refused = ask(gateway.port, "/tokens/x", Shape("token", "GET"))
    assert (refused.status, refused.value("allow")) == (
        405,
        "A|B%, LIST, M-SEARCH, OPTIONS, PROPFIND, PURGE, QUERY, list",
    )
    for method in ("Purge", "purge", "TRACE"):
        assert matched_operation(ask, gateway, "/tokens/x", method=method) == "405", method
    assert (
        matched_operation(ask, gateway, "/tokens/any")
        == matched_operation(ask, gateway, "/tokens/any", method="HEAD")
        == "named"
    )
    for method in ("POST", "DELETE", "OPTIONS", "PURGE", "BREW"):
        assert matched_operation(ask, gateway, "/tokens/any", method=method) == "any", method
        assert matched_operation(ask, gateway, "/tokens/open/a/b", method=method) == "open", method
    # What an upstream may take for GET, and is none, is not let in by "any"; nor is what would show it to scripts.
    for method in ("get", "Get", "TRACE", "trace"):
        refused = ask(gateway.port, "/tokens/any", Shape("token", method))
        assert (refused.status, refused.value("allow")) == (405, "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"), method


def test_chains_counters_and_the_access_log_distinguish_operations(gateway: Gateway, upstream: Upstream) -> None:
    by = [header("x-v", exact="1|2"), header("x-w", regex="(?i)a.*")]
    gateway.deploy(
        api("apart", upstream.url, [attach("mark", {"name": "shared"})], [
            operation("one", "GET", "/x", headers=by), operation("two", "GET", "/x", query=[header("v", prefix="1")]),
            operation("three", "GET", "/x"),
        ])
    )  # fmt: skip
    names = [r'GET /x [x-v="1\u007c2"][x-w~="(?i)a.*"]', "GET /x [?v^=1]", "GET /x"]
    for times, (target, headers) in enumerate([("/x", [("x-v", "1|2"), ("x-w", "Ab")]), ("/x?v=1", []), ("/x", [])], 1):
        for _ in range(times):
            assert http1(gateway.port, f"/apart{target}", Shape("apart", "GET", headers)).status == 200
    counters = json.loads(gateway.admin("engine", "/stats"))["policies"]
    counters_by_operation = {counter["operation"]: counter for counter in counters if counter["api"] == "apart"}
    assert set(names) <= set(counters_by_operation), set(counters_by_operation)
    executions = [json.dumps(counters_by_operation[name], sort_keys=True) for name in names]
    assert len(set(executions)) == 3, executions
    chains = json.loads(gateway.admin("engine", "/chains"))
    chains = chains["chains"] if isinstance(chains, dict) else chains
    operations = [chain["operation"] for chain in chains if chain["api"] == "apart"]
    assert sorted(operations) == sorted([*names, "OPTIONS /x"])


def test_envoy_accepts_a_long_literal_in_all_its_spellings(gateway: Gateway, upstream: Upstream) -> None:
    """Its regular expression has more instructions than Envoy allows by default."""
    text = "/".join(["a:b", "%C3%A9,=(x)"] * 25)
    gateway.deploy(api("long", upstream.url, [], [operation("long", "GET", f"/{text}")]))
    assert matched_operation(http1, gateway, f"/long/{text}") == "long"
    assert matched_operation(http1, gateway, f"/long/{text.replace(':', '%3A')}") == "long"
