"""The cases of conformance/ on a real gateway: twin policies are built, and an API has one operation for each case."""

from __future__ import annotations

import base64
import json
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import yaml

from e2e.kit.gateway import Gateway, Json, api, eventually
from e2e.kit.places import ROOT
from e2e.kit.upstream import Recorded, Reply, Upstream

CONFORMANCE = ROOT / "conformance"
RUNTIMES = ("go", "python")
CONTEXT = "/orders"
HOOKS = ("onRequest", "onResponse", "onRequestStream", "onResponseStream")
FAILED = '"policy failed"'
SAW = b"\nsaw: "
ANSWERED: Json = {"status": 200, "headers": [], "body": "answered"}


@dataclass(frozen=True)
class Case:
    """One case as conformance/README.md describes it; `request` and `upstream` have their defaults."""

    name: str
    policies: list[Json]
    request: Json = field(default_factory=dict)
    upstream: Json = field(default_factory=dict)
    expect: Json = field(default_factory=dict)

    @property
    def operation(self) -> Json:
        attempts = any("attempts" in (policy.get("onRequest", {}).get("action") or {}) for policy in self.policies)
        failover = {"failover": True} if attempts else {}
        return {"method": self.request.get("method", "GET"), "path": f"/{self.name}/*", **failover}


@cache
def chain_cases() -> tuple[Case, ...]:
    """The cases of cases/*.yaml."""
    files = sorted((CONFORMANCE / "cases").glob("*.yaml"))
    return _named_once(Case(**case) for file in files for case in yaml.safe_load(file.read_text()))


@cache
def table_cases() -> tuple[Case, ...]:
    """A case for each action and each value of the tables."""
    return _named_once([*_of_actions(), *_of_values()])


def _named_once(cases: Iterable[Case]) -> tuple[Case, ...]:
    all_of_them = tuple(cases)
    twice = [name for name, times in Counter(case.name for case in all_of_them).items() if times > 1]
    assert not twice, f"expected each case's name once, got {twice} again"
    return all_of_them


def _table(name: str) -> Json:
    table: Json = json.loads((CONFORMANCE / name).read_text())
    del table["about"]
    return table


def _of_actions() -> Iterator[Case]:
    for verdict, actions in _table("actions.json").items():
        for case in (case for case in actions if not case.get("unread")):
            name = f"{verdict}-{case['hook']}-{'-'.join(case['name'].split())}".replace(",", "").replace("'", "")
            action: Json = case["action"]
            policies = [{"modes": case.get("modes", "headers"), case["hook"]: {"action": action}}]
            expect: Json = _refused(case["hook"]) if verdict == "refused" else {"client": {"status": _status(action)}}
            if action["kind"] == "answer" and case["hook"] == "onRequest":
                expect["upstream"] = None
            yield Case(name, policies, expect=expect)


def _status(action: Json) -> int:
    status: int = action.get("statusCode", 200)
    return status


def _refused(hook: str) -> Json:
    phase = hook.removeprefix("on").lower()
    upstream = {"upstream": None} if phase == "request" else {}
    return {"failures": [f"badAction {phase}"], "client": {"status": 500}, **upstream}


def _of_values() -> Iterator[Case]:
    for kind, table in _table("action-values.json").items():
        for number, value in enumerate([*table["taken"], _of_all_characters(kind, table)]):
            policies = [{"onRequest": {"action": _setting(kind, value)}}]
            yield Case(f"taken-{kind}-{number}", policies, expect={"upstream": _arrives(kind, value)})
        for number, value in enumerate(table["refused"]):
            policies = [{"onRequest": {"action": _setting(kind, value)}}]
            yield Case(f"refused-{kind}-{number}", policies, expect=_refused("onRequest"))


def _of_all_characters(kind: str, table: Json) -> str:
    """A value with every character that is allowed in it."""
    characters = table.get("characters") or "".join(
        chr(number) for number in range(256) if number not in table["allBut"]
    )
    return f"{CONTEXT}/x{characters}y" if kind == "path" else f"x{characters}y"


def _setting(kind: str, value: str) -> Json:
    match kind:
        case "headerName":
            return {"kind": "modify", "setHeaders": [[value, "b"]]}
        case "headerValue":
            return {"kind": "modify", "setHeaders": [["x-a", value]]}
    return {"kind": "modify", kind: value}


def _arrives(kind: str, value: str) -> Json:
    match kind:
        case "headerName":
            return {"headers": {value.lower(): ["b"]}}
        case "headerValue":
            return {"headers": {"x-a": [value]}}
        case "path":
            return {"target": value.removeprefix(CONTEXT) or "/"}
        case "query":
            return {"target": f"/CASE/x?{value}" if value else "/CASE/x"}
        case "authority":
            return {"headers": {"host": [value]}}
    return {kind: value}


# ------------------------------------------------------------------ what is built and deployed


def write_twins(folder: Path) -> Path:
    """A build.yaml with a twin for each runtime and each entry of modes.yaml; nothing else depends on the folder."""
    entries = []
    for modes, definition in yaml.safe_load((CONFORMANCE / "modes.yaml").read_text()).items():
        for runtime in RUNTIMES:
            name = f"twin-{runtime}-{modes}"
            (folder / name).mkdir()
            head = {"name": name, "version": "v1.0.0", "runtime": runtime, "parameters": {"type": "object"}}
            (folder / name / "policy-definition.yaml").write_text(yaml.safe_dump(head | definition))
            for file in ("policy.go", "stream.go", "go.mod") if runtime == "go" else ("policy.py",):
                shutil.copy(CONFORMANCE / "twin" / file, folder / name)
            entries.append(f"  - {{name: {name}, filePath: {name}}}\n")
    manifest = folder / "build.yaml"
    manifest.write_text(f"version: v1\npolicies:\n{''.join(entries)}")
    return manifest


def document(cases: list[Case], runtimes: tuple[str, ...], upstream: str) -> Json:
    """An API with one operation for each case, whose policies are twins of these runtimes in turn.
    Its upstreams, `main` and `canary`, are one server, the latter below /canary.
    """
    operations = [
        case.operation
        | {"policies": [_attachment(policy, runtimes[n % len(runtimes)]) for n, policy in enumerate(case.policies)]}
        for case in cases
    ]
    deployed = api(CONTEXT.removeprefix("/"), upstream, operations=operations)
    deployed["spec"]["upstream"]["canary"] = {"url": f"{upstream}/canary"}
    return deployed


def _attachment(policy: Json, runtime: str) -> Json:
    script = {key: policy[key] for key in HOOKS if key in policy}
    name = f"twin-{runtime}-{policy.get('modes', 'headers')}"
    return {"name": name, "version": "v1", "params": script, **policy.get("settings", {})}


# ------------------------------------------------------------------ one case


@dataclass(frozen=True)
class Outcome:
    """The outcome of a case's request: the client's answer, None if the connection broke, and the requests that the
    upstream received."""

    answer: httpx.Response | None
    received: list[Recorded]

    @property
    def client(self) -> httpx.Response:
        assert self.answer is not None, "expected an answer, got a connection that broke"
        return self.answer


def ask(client: httpx.Client, gateway: Gateway, upstream: Upstream, case: Case) -> Outcome:
    upstream.received.clear()
    reply = ANSWERED | case.upstream
    headers = [(name, octets(value)) for name, value in reply["headers"]]
    upstream.reply = lambda _: Reply(reply["status"], headers, octets(text(reply["body"])))
    path = case.request.get("path", f"{CONTEXT}/{case.name}/x")
    query = f"?{case.request['query']}" if "query" in case.request else ""
    body = case.request.get("body")
    request = client.build_request(
        case.request.get("method", "GET"),
        f"{gateway.url}{path}{query}",
        headers=[(name.encode(), octets(value)) for name, value in case.request.get("headers", [])],
        content=None if body is None else octets(text(body)),
    )
    try:
        return Outcome(client.send(request), list(upstream.received))
    except (httpx.NetworkError, httpx.RemoteProtocolError):
        return Outcome(None, list(upstream.received))


def text(value: Any) -> str:
    """Text, or {of: text, times: how often}."""
    return value["of"] * value["times"] if isinstance(value, dict) else str(value)


def octets(characters: str) -> bytes:
    return characters.encode("latin-1")


def check(gateway: Gateway, case: Case, outcome: Outcome) -> None:
    """Fails with the part of the case that differs from what it expects."""
    expect = case.expect
    problem = _check_client(case, outcome, expect.get("client", {"status": 200}))
    if "upstream" in expect and expect["upstream"] is None:
        assert outcome.received == [], f"{case.name}: expected no request upstream"
    else:
        assert len(outcome.received) == 1, f"{case.name}: expected one request upstream: {problem}"
        for part, expected in expect.get("upstream", {}).items():
            expected = expected.replace("/CASE/", f"/{case.name}/") if part == "target" else expected
            expected = text(expected) if part == "body" else expected
            assert _of_upstream(outcome.received[0], part, expected) == expected, f"{case.name}: upstream: {part}"
    for phase, expected in expect.get("saw", {}).items():
        assert (report := read_x_saw(outcome, phase)) == expected, f"{case.name}: what the {phase} phase saw: {report}"
    _check_failures(gateway, case, outcome)


def _check_client(case: Case, outcome: Outcome, expect: Any) -> str:
    """Checks the client's answer and returns the problem that the gateway reports in it, or an empty string."""
    if expect == "broken":
        assert outcome.answer is None, f"{case.name}: client: expected a connection that breaks, got {outcome.answer}"
        return ""
    problem = outcome.client.text if outcome.client.status_code >= 400 else ""
    for part, value in expect.items():
        expected = text(value) if part == "body" else value
        assert _of_client(outcome.client, part, value) == expected, f"{case.name}: client: {part}: {problem}"
    return problem


def _of_client(answer: httpx.Response, part: str, expected: Any) -> Any:
    match part:
        case "status":
            return answer.status_code
        case "headers":
            return _values(answer.headers.raw, expected)
    return answer.content.partition(SAW)[0].decode("latin-1")


def _of_upstream(request: Recorded, part: str, expected: Any) -> Any:
    match part:
        case "headers":
            return _values(request.headers, expected)
        case "body":
            return request.body.partition(SAW)[0].decode("latin-1")
    return getattr(request, part)


def _values(headers: list[tuple[bytes, bytes]], names: Iterable[str]) -> dict[str, list[str]]:
    return {name: [value.decode("latin-1") for key, value in headers if key.decode().lower() == name] for name in names}


def read_x_saw(outcome: Outcome, phase: str) -> Any:
    """What the policy reports that it saw: in the header x-saw, and for a stream at the end of the body."""
    if phase.endswith("Stream"):
        body = outcome.received[0].body if phase == "requestStream" else outcome.client.content
        return json.loads(base64.b64decode(body.partition(SAW)[2]))
    headers = outcome.received[0].headers if phase == "request" else outcome.client.headers.raw
    (value,) = _values(headers, ["x-saw"])["x-saw"]
    return json.loads(base64.b64decode(value))


def _check_failures(gateway: Gateway, case: Case, outcome: Outcome) -> None:
    """Checks the failures that the engine logged for the request."""
    expected, request_id = case.expect.get("failures", []), _request_id(outcome)

    def failures() -> list[str]:
        lines = [json.loads(line) for line in gateway.log if request_id and request_id in line and FAILED in line]
        return [f"{line['class']} {line['phase']}" for line in lines]

    if expected:
        eventually(f"{case.name}: the log has {expected}", lambda: len(failures()) >= len(expected))
    assert (failed := failures()) == expected, f"{case.name}: failures: {failed}"
    assert outcome.answer is None or "secret" not in outcome.answer.text


def _request_id(outcome: Outcome) -> str:
    """The request id in the gateway's own answer or in the upstream's request; a policy's answer has none."""
    if outcome.answer is not None and outcome.answer.headers.get("content-type") == "application/problem+json":
        request_id: str = outcome.answer.json()["requestId"]
        return request_id
    return (outcome.received[0].value("x-request-id") or "") if outcome.received else ""
