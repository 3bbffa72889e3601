"""All that decide by a request see the same, however a client writes it; the upstream receives it unchanged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from e2e.kit.counterparts import opa
from e2e.kit.gateway import Gateway, Json, api, attach, eventually, running
from e2e.kit.listening import write
from e2e.kit.policy_project import PolicyProject
from e2e.kit.raw_http import connected, receive_answer
from e2e.kit.upstream import Recorded, Upstream
from e2e.policies.views import CONDITIONS, PAGE, VIEW, WAYS, Way, replace_table

SEES = """
import json
from sdk.policy import UpstreamRequestModifications

def on_request(ctx, params):
    view = {
        "path": ctx.path,
        "segments": ctx.path_segments,
        "host": ctx.host,
        "client": ctx.client_address.rpartition(":")[0],
        "header": [part.strip() for line in ctx.headers.get_all("x-many") for part in line.split(",")],
        "parameter": ctx.query_params.get_all("a"),
    }
    return UpstreamRequestModifications(set_headers={
        "x-python": json.dumps(view), "x-raw": ctx.raw_path, "x-context": ctx.api_context,
    })
"""
PLACEHOLDERS = {
    "path": "${request.path}",
    "client": "${client.ip}",
    "header": "${header.x-many}",
    "parameter": "${query.a}",
}


class Stage(NamedTuple):
    """Three APIs: what all see, what limits count together, what a rule refuses."""

    gateway: Gateway
    audits: Path


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, recording_upstream: Upstream) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("views")
    shipped = ("audit-log", "cel-authz", "opa-authz", "rate-limit", "set-headers")
    project = PolicyProject(folder, "views", go=shipped)
    project.write_policy("sees", SEES, more="processingMode: {requestHeaderMode: PROCESS}\n")
    (audits := folder / "audits").mkdir()
    file = write(folder / "gateway.yaml", {"name": "http"}, trustedProxies={"hops": 1})
    operator = json.dumps({"audit-log": {"folder": str(audits)}})
    within = ["env", f"GATEWRIGHT_CONTROLLER_SYSTEM_PARAMETERS={operator}"]
    arguments = [*project.arguments, "--gateway", str(file)]
    with opa.running(folder) as needed, running(None, folder / "state", *arguments, within=within) as gateway:
        for document in apis(recording_upstream.url, needed["OPA"]):
            gateway.deploy(document)
        yield Stage(gateway, audits)


def apis(upstream: str, opa_url: str) -> Iterator[Json]:
    placeholders = [{"name": f"x-text-{name}", "value": value} for name, value in PLACEHOLDERS.items()]
    marks = [
        attach("set-headers", {"request": {"set": [{"name": f"x-when-{name}", "value": "true"}]}}, when=condition)
        for name, condition in CONDITIONS.items()
    ]
    settings = {"url": opa_url, "path": "orders/view", "headers": ["x-many"], "upstreamHeaders": ["x-opa"]}
    readers = [
        attach("audit-log", {"file": "views.jsonl", "requestHeaders": ["x-many"]}),
        attach("opa-authz", settings),
        attach("set-headers", {"request": {"set": placeholders}}),
        *marks,
        attach("sees"),
    ]
    yield api("views", upstream, readers)
    for part in ("path", "client"):
        limit = {"key": [{"from": part}], "limits": [{"requests": 1, "per": "1h", "burst": 1, "name": part}]}
        yield api(f"limits-{part}", upstream, [attach("rate-limit", limit)])
    rule = " && ".join(CONDITIONS.values()).replace("views", "rules")
    yield api("rules", upstream, [attach("cel-authz", {"deny": [{"when": rule}]})])


def ask_for(stage: Stage, way: Way, api_name: str = "views") -> int:
    """The status of the answer."""
    path = way.path.replace("views", api_name)
    lines = [f"GET {path}?{way.query} HTTP/1.1", f"Host: {way.host}", f"X-Forwarded-For: {way.client}"]
    lines += [f"X-Many: {value}" for value in way.headers]
    with connected(httpx.URL(stage.gateway.url).port or 80) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        return receive_answer(connection).status


@pytest.mark.parametrize("way", [Way(), *(way for ways in WAYS.values() for way in ways)], ids=str)
def test_all_ways_to_apply_a_policy_see_the_same(stage: Stage, upstream: Upstream, way: Way) -> None:
    lines = audit_lines(stage)
    assert ask_for(stage, way) == 200
    (request,) = upstream.received
    assert json.loads(request.value("x-python") or "") == VIEW
    assert strip_values(json.loads(request.value("x-opa") or "")) == VIEW
    assert {name: request.value(f"x-when-{name}") for name in CONDITIONS} == dict.fromkeys(CONDITIONS, "true")
    texts = {name: request.value(f"x-text-{name}") for name in PLACEHOLDERS}
    joined = {name: value.replace(" , ", ", ").replace(",2", ", 2") for name, value in texts.items() if value}
    assert joined == {"path": VIEW["path"], "client": VIEW["client"], "header": "1, 2", "parameter": "1, 2"}
    eventually("the audit has a line", lambda: len(audit_lines(stage)) > len(lines))
    line = audit_lines(stage)[-1]
    assert (line["path"], line["client"]) == (VIEW["path"], VIEW["client"])
    assert request.value("x-context") == "/views"
    assert below(request.value("x-raw") or "") == request.target.partition("?")[0]
    assert is_unchanged(request, way)


def is_unchanged(request: Recorded, way: Way) -> bool:
    """But for what Envoy resolves: slashes, dot segments, letters and digits that need no encoding."""
    resolved = way.path.replace("%75", "u").replace("/x/..", "").replace("/./", "/").replace("//", "/")
    return request.target == f"{below(resolved)}?{way.query}" and request.value("x-forwarded-host") == way.host


def below(path: str) -> str:
    return path.removeprefix("/views")


def strip_values(view: Json) -> Json:
    return view | {"header": [part.strip() for part in view["header"]]}


def audit_lines(stage: Stage) -> list[Json]:
    file = stage.audits / "views.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


@pytest.mark.parametrize("part", ["path", "client"])
def test_a_limit_counts_all_ways_together(stage: Stage, part: str) -> None:
    statuses = [ask_for(stage, way, f"limits-{part}") for way in [Way(), *WAYS[part]]]
    assert statuses == [200] + [429] * len(WAYS[part])


def test_a_rule_refuses_all_ways(stage: Stage, upstream: Upstream) -> None:
    ways = [way for ways in WAYS.values() for way in ways]
    assert {ask_for(stage, way, "rules") for way in ways} == {403}
    assert upstream.received == []


def test_the_page_has_the_table() -> None:
    page = PAGE.read_text()
    assert page == replace_table(page), "python -m e2e.policies.views writes it anew"
