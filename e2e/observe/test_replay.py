"""Recorded exchanges are replayed: the same code gives the same results, and other code exactly its differences."""

from __future__ import annotations

import gzip
import json
import os
import random
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from gatewright import testing

from e2e.kit.attachments import GO_HEADERS
from e2e.kit.gateway import Gateway, Json, api, attach
from e2e.kit.places import ROOT
from e2e.kit.policy_project import PolicyProject
from e2e.kit.recorded import record_exchanges, wait_for_exchanges
from e2e.kit.upstream import Recorded, Reply, Upstream

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
    folders = [ROOT / "sample-policies" / name, ROOT / "e2e" / "kit" / "policies" / name]
    return next(folder for folder in folders if folder.exists())


def requests(chosen: random.Random) -> Iterator[Json]:
    """Requests of all kinds that policies treat differently."""
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
    """JSON with the searched values, sometimes encoded, or without a body."""
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


@pytest.fixture(scope="module")
def exchanges(shared_gateway: Gateway, recording_upstream: Upstream) -> dict[str, list[Json]]:
    """By chain: what was recorded, in no order."""
    recording_upstream.reply = reply
    try:
        return {name: record_chain(shared_gateway, recording_upstream, name) for name in CHAINS}
    finally:
        recording_upstream.reset()


def record_chain(gateway: Gateway, upstream: Upstream, chain: str) -> list[Json]:
    own = f"replay-{chain}"
    patient = [{**attachment, "timeout": "9s"} for attachment in CHAINS[chain]]  # on a machine that is busy
    gateway.deploy(api(own, upstream.url, patient))
    try:
        with record_exchanges(gateway, api=own):
            for request in requests(random.Random(chain)):  # noqa: S311
                httpx.request(timeout=60, **{**request, "url": f"{gateway.url}/{own}{request['url']}"})
            return wait_for_exchanges(gateway, REQUESTS, api=own)
    finally:
        gateway.remove(own)


def replay(exchange: Json, attachment: Json, index: int) -> testing.Replay:
    policy = testing.load_policy(str(policy_folder(attachment["name"]) / "policy.py"))
    return testing.replay(exchange, policy, params=attachment["params"], index=index)


def test_a_replay_of_the_same_code_has_no_differences(exchanges: dict[str, list[Json]]) -> None:
    """Each Python policy in each exchange: request and response, bodies, streams, answers and failures."""
    run = 0
    for name, policies in CHAINS.items():
        for exchange in exchanges[name]:
            for index, attachment in enumerate(policies):
                if attachment["name"] in ("add-headers", "log-message"):
                    continue
                own = [execution for execution in exchange["executions"] if execution["index"] == index]
                if not own:  # another policy has answered before
                    continue
                result = replay(exchange, attachment, index)
                assert not result.differences, f"{name}: {result.differences!r}"
                assert [execution.phase for execution in result.executions] == [execution["phase"] for execution in own]
                run += len(own)
    assert run > 300


# ------------------------------------------------------------------ the command

MARKING = """
from sdk.policy import UpstreamRequestModifications, UpstreamResponseModifications


def on_request(ctx, params):
    return UpstreamRequestModifications(append_headers={"x-order": mark(ctx, params)})


def on_response(ctx, params):
    return UpstreamResponseModifications(append_headers={"x-order": mark(ctx, params)})


def mark(ctx, params):
    return f"{params['name']}({' '.join(name for name in params['look'] if name in ctx.headers)})"
"""
PARAMS = json.dumps(MARK["params"])
LIMIT_SECONDS = 120.0


@dataclass(frozen=True)
class Recordings:
    """Exchanges in files, and a policy of the name `mark` that is changed. cache: of environments."""

    folder: Path
    exchanges: list[Json]
    project: PolicyProject
    cache: Path

    def replay(self, source: str, *options: str) -> subprocess.CompletedProcess[str]:
        """`gatewright replay` of all exchanges with this code of `mark`."""
        policy = self.write(source)
        return self.run(str(self.folder), "--policy", str(policy), "--params", PARAMS, *options)

    def write(self, source: str, version: str = "v1.0.0") -> Path:
        return self.project.write_policy("mark", source, version, more=MARK_DEFINITION).parent

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        words = ["gatewright", "replay", *arguments]
        environment = {**os.environ, "GATEWRIGHT_CACHE_DIR": str(self.cache)}
        return subprocess.run(
            words, env=environment, capture_output=True, text=True, check=False, timeout=LIMIT_SECONDS
        )

    def copied(self, folder: Path) -> list[Path]:
        """The files, to be changed."""
        return sorted(shutil.copytree(self.folder, folder).iterdir())


MARK_DEFINITION = "parameters: {type: object, properties: {name: {type: string}, look: {type: array, default: []}}}\n"


@pytest.fixture(scope="module")
def recordings(exchanges: dict[str, list[Json]], tmp_path_factory: pytest.TempPathFactory) -> Recordings:
    """As `gatewright record` saves them, of the chains with `mark`, each of which is run in both phases or one."""
    folder, project = tmp_path_factory.mktemp("saved"), tmp_path_factory.mktemp("project")
    all_exchanges = [exchange for name in ("bodies", "raised", "answered") for exchange in exchanges[name]]
    for number, exchange in enumerate(all_exchanges):
        (folder / f"{number:02}.exchange.json").write_text(json.dumps(exchange))
    return Recordings(folder, all_exchanges, PolicyProject(project, "unused"), tmp_path_factory.mktemp("cache"))


def parse_replays(result: subprocess.CompletedProcess[str]) -> list[Json]:
    assert result.returncode in (0, 1), result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_the_command_finds_no_difference_in_the_same_code(recordings: Recordings) -> None:
    result = recordings.replay(MARKING)
    assert result.returncode == 0, result.stdout + result.stderr
    ran = [
        exchange
        for exchange in recordings.exchanges
        if any(execution["policy"] == "mark:v1.0.0" for execution in exchange["executions"])
    ]
    assert 0 < len(ran) < len(recordings.exchanges)
    assert f"mark:v1.0.0: {len(ran)} exchanges replayed: none differ" in result.stdout
    assert f"{len(recordings.exchanges) - len(ran)} exchanges skipped" in result.stderr


def test_the_command_finds_exactly_the_differences(recordings: Recordings) -> None:
    """A policy that marks requests with a body otherwise, and responses as ever."""
    changed = MARKING.replace('name in ctx.headers)})"', 'name in ctx.headers)}){chr(33) * is_post(ctx)}"')
    changed += "\n\ndef is_post(ctx):\n    return getattr(ctx, 'method', '') == 'POST'\n"
    result = recordings.replay(changed, "--json")
    assert result.returncode == 1
    differences = {
        replay["id"]: [change for execution in replay["executions"] for change in execution["differences"]]
        for replay in parse_replays(result)
    }
    for exchange in recordings.exchanges:
        turns = [
            execution
            for execution in exchange["executions"]
            if execution["policy"] == "mark:v1.0.0" and execution["phase"] == "request"
        ]
        if exchange["request"]["method"] == "POST" and turns:
            (was,) = [change["after"] for change in turns[0]["changes"] if change["name"] == "x-order"]
            expected = [{"what": "header", "name": "x-order", "before": was, "after": [f"{was[0]}!"]}]
            assert differences[exchange["id"]] == expected
        else:
            assert differences.get(exchange["id"], []) == []
    output = recordings.replay(changed)
    assert output.returncode == 1
    assert "      - one(x-go-policy authorization)\n      + one(x-go-policy authorization)!\n" in output.stdout
    assert re.search(r"^EXCHANGE +REQUEST +RECORDED +REPLAYED +DIFFERENCES$", output.stdout, re.MULTILINE)


def test_policies_that_raise_answer_or_are_async_are_replayed(recordings: Recordings) -> None:
    raising = recordings.replay(
        MARKING.replace("    return UpstreamRequest", "    {}['tier']\n    return UpstreamRequest")
    )
    assert raising.returncode == 1
    assert re.search(r"\+ exception: KeyError: 'tier' \(.*mark-v1.0.0/policy.py:6\)", raising.stdout)
    answer = (
        "    from sdk.policy import ImmediateResponse\n    return ImmediateResponse(429)\n    return UpstreamRequest"
    )
    answering = recordings.replay(MARKING.replace("    return UpstreamRequest", answer))
    assert answering.returncode == 1
    assert "answer 429" in answering.stdout
    waiting = MARKING.replace("def on_", "async def on_").replace(
        "    return Upstream", "    import asyncio\n    await asyncio.sleep(0)\n    return Upstream"
    )
    assert recordings.replay(waiting).returncode == 0


@pytest.mark.parametrize("hang", ["threading.Event().wait()", "await asyncio.Event().wait()"])
def test_a_policy_that_hangs_is_ended_and_the_others_go_on(recordings: Recordings, hang: str) -> None:
    hangs = [exchange["id"] for exchange in recordings.exchanges if exchange["request"]["method"] == "POST"][:2]
    lines = "    import asyncio, threading", f"    if ctx.request_id in {hangs}:", f"        {hang}"
    source = MARKING.replace("    return UpstreamRequest", "\n".join([*lines, "    return UpstreamRequest"]))
    source = source.replace("def on_request", "async def on_request") if "await" in hang else source
    result = recordings.replay(source, "--timeout", "5s", "--json")
    assert result.returncode == 1
    assert {replay["id"] for replay in parse_replays(result) if replay["error"]} == {*hangs}
    for replay in parse_replays(result):
        if replay["id"] in hangs:
            assert re.fullmatch(r"timeout: no end after 5 s; it is at .*mark-v1.0.0/policy.py:8", replay["error"])
        else:
            assert replay["differences"] == 0


def test_a_policy_that_ends_its_process_is_named(recordings: Recordings) -> None:
    source = MARKING.replace("    return UpstreamResponse", "    import os; os._exit(3)\n    return UpstreamResponse")
    lines = parse_replays(recordings.replay(source, "--json"))
    ended = [line["error"] for line in lines if line["error"]]
    assert ended
    assert set(ended) == {"crashed: the policy ended its process, exit code 3"}
    assert len(ended) < len(lines) or all(line["executions"] == [] for line in lines)


def test_a_policy_with_requirements_has_its_environment(recordings: Recordings) -> None:
    policy = recordings.write("import packaging.version\n" + MARKING, "v1.0.1")
    (policy / "requirements.txt").write_text("packaging>=24\n")
    result = recordings.run(str(recordings.folder), "--policy", str(policy), "--params", PARAMS)
    assert result.returncode == 0, result.stdout + result.stderr


def test_parameters_come_from_the_api(recordings: Recordings, tmp_path: Path) -> None:
    policy = recordings.write(MARKING)
    file = tmp_path / "api.json"
    file.write_text(json.dumps(api("replay-bodies", "http://127.0.0.1:1", CHAINS["bodies"])))
    files = [
        str(path) for path in recordings.folder.iterdir() if json.loads(path.read_text())["api"] == "replay-bodies"
    ]
    result = recordings.run(*files, "--policy", str(policy), "--api", str(file))
    assert result.returncode == 0, result.stdout + result.stderr


def test_all_policies_of_a_build_are_replayed(recordings: Recordings, build: Path, tmp_path: Path) -> None:
    lines = tmp_path / "kept.jsonl"
    exchanges = [exchange for exchange in recordings.exchanges if exchange["api"] == "replay-bodies"]
    lines.write_text("".join(json.dumps(exchange) + "\n" for exchange in exchanges))
    file = tmp_path / "api.json"
    file.write_text(json.dumps(api("replay-bodies", "http://127.0.0.1:1", CHAINS["bodies"])))
    result = recordings.run(str(lines), "--build", str(build), "--api", str(file))
    assert result.returncode == 0, result.stdout + result.stderr
    for name in ("rewrite-json", "mark", "share", "add-python-header"):
        assert f"{name}:v1.0.0: {REQUESTS} exchanges replayed: none differ" in result.stdout


def test_wrong_arguments_are_refused(recordings: Recordings, tmp_path: Path) -> None:
    go = recordings.run(str(recordings.folder), "--policy", str(ROOT / "policies" / "add-headers"))
    assert go.returncode == 2
    assert "expected a Python policy, got add-headers:v1.0.0, which is written in Go" in go.stderr
    assert "mode: shadow" in go.stderr
    absent = recordings.replay(MARKING, "--params", '{"look": 3}')
    assert absent.returncode == 2
    assert "look" in absent.stderr
    broken = recordings.replay("import nothing_of_this_name\n" + MARKING)
    assert broken.returncode == 2
    assert "policy.py:1" in broken.stderr
    (tmp_path / "bad.json").write_text("{")
    assert (
        recordings.run(str(tmp_path / "bad.json"), "--policy", str(ROOT / "sample-policies" / "python-deny")).returncode
        == 2
    )
    for options in ((), ("--build", "build", "--params", "{}"), ("--build", "a", "--policy", "b"), ("--header", "x")):
        assert recordings.run(str(recordings.folder), *options).returncode == 2
    (tmp_path / "other.json").write_text(json.dumps({**recordings.exchanges[0], "version": 9}))
    assert "expected a recording of version 1, got 9" in recordings.replay(MARKING, str(tmp_path / "other.json")).stderr


def test_a_body_that_was_cut_is_named(recordings: Recordings, tmp_path: Path) -> None:
    files = recordings.copied(tmp_path / "cut")
    for file in files:
        exchange = json.loads(file.read_text())
        if exchange["api"] == "replay-bodies":
            for message in ("request", "upstreamResponse"):
                if "body" in exchange[message]:
                    exchange[message]["body"] |= {"text": "{", "truncated": True}
            file.write_text(json.dumps(exchange))
    options = "--params", json.dumps(REWRITE["params"]), "--json"
    lines = parse_replays(
        recordings.run(str(tmp_path / "cut"), "--policy", str(policy_folder("rewrite-json")), *options)
    )
    cut = [line for line in lines if line["error"]]
    assert cut
    assert all("body: expected all of it, got the first 1 of" in line["error"] for line in cut)
