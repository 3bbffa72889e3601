"""Files of exchanges, parameters, the process that runs a policy, and the report."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import gatewright
import pytest
from gatewright_cli.exchanges.paint import Paint
from gatewright_cli.exchanges.recorded import read
from gatewright_cli.mistakes import PreflightError
from gatewright_cli.replaying import report
from gatewright_cli.replaying.candidate import Candidate, of_build, of_folder
from gatewright_cli.replaying.child_process import GRACE_SECONDS, Job, Replayed, replay
from gatewright_cli.replaying.inputs import Input, read_inputs
from gatewright_cli.replaying.parameters import Parameters, read_api, read_params

Json = dict[str, Any]
SDK = Path(gatewright.__file__).parents[1]
SCHEMA = {
    "type": "object",
    "properties": {"tag": {"type": "string", "default": "gold"}, "list": {"type": "array", "default": []}},
    "additionalProperties": False,
}
DEFINITION = {
    "name": "tag", "version": "v1.0.0", "runtime": "python", "displayName": "Tag", "description": "Tags.",
    "processingMode": {"requestHeaderMode": "PROCESS"}, "parameters": SCHEMA,
}  # fmt: skip
TAGGING = """
from sdk.policy import UpstreamRequestModifications

def on_request(ctx, params):
    return UpstreamRequestModifications(set_headers={"x-tag": params["tag"]})
"""


def exchange(number: int = 1, **members: Any) -> Json:
    request = {"method": "GET", "path": f"/shop/{number}", "headers": [["x-number", str(number)]]}
    change = {"what": "header", "name": "x-tag", "after": ["gold"]}
    turn = {"index": 0, "policy": "tag:v1.0.0", "phase": "request", "outcome": "changed", "changes": [change]}
    return {
        "version": 1, "id": f"id-{number}", "api": "shop", "operation": "GET /{id}", "context": "/shop",
        "policies": ["tag:v1.0.0"], "request": request, "forwarded": request, "outcome": "completed",
        "response": {"status": 200, "headers": []}, "executions": [turn], "redacted": 0, **members,
    }  # fmt: skip


def as_input(document: Json) -> Input:
    return Input(f"{document['id']}.exchange.json", read(json.dumps(document).encode()), document)


def candidate(folder: Path, source: str = TAGGING) -> Candidate:
    (folder / "policy.py").write_text(source)
    return Candidate(DEFINITION, folder.resolve(), Path(sys.executable), SDK)


def replayed(
    folder: Path, source: str, count: int = 3, seconds: float = 10.0, grace_seconds: float = GRACE_SECONDS
) -> list[Replayed]:
    job = Job(candidate(folder, source), {"headers": {}}, seconds, grace_seconds=grace_seconds)
    return list(replay(job, [(as_input(exchange(number)), [{"tag": "gold"}]) for number in range(count)]))


SEES_PATHS = """
from sdk.policy import UpstreamRequestModifications

def on_request(ctx, params):
    return UpstreamRequestModifications(set_headers={"x-tag": f"{ctx.path} {ctx.upstream_path}"})
"""


def test_a_policy_sees_the_paths_that_its_api_had(tmp_path: Path) -> None:
    """A recording has the setting; for one of a former release, the Api has it."""
    change = {"what": "header", "name": "x-tag", "after": ["/shop/1/ /api/1/"]}
    turn = {"index": 0, "policy": "tag:v1.0.0", "phase": "request", "outcome": "changed", "changes": [change]}
    request = {"method": "GET", "path": "/shop/1/", "headers": []}
    recorded = exchange(request=request, executions=[turn], upstreamPaths=[{"upstream": "", "base": "/api"}])
    api = {"kind": "Api", "metadata": {"name": "shop"}, "spec": {"strictPaths": False}}

    def differences(document: Json, parameters: Parameters) -> int:
        job = Job(candidate(tmp_path, SEES_PATHS), {"headers": {}}, 10.0)
        (result,) = replay(job, [(parameters.with_paths(as_input(document)), [{"tag": "gold"}])])
        assert not result.error
        return result.differences

    assert differences({**recorded, "loosePaths": True}, Parameters()) == 0
    assert differences(recorded, Parameters()) == 1
    assert differences(recorded, Parameters(api={**api, "metadata": {"name": "other"}})) == 1
    assert differences(recorded, Parameters(api=api)) == 0


# ------------------------------------------------------------------ files


def test_files_lines_and_folders_are_read(tmp_path: Path) -> None:
    (tmp_path / "b.exchange.json").write_text(json.dumps(exchange(2), indent=1))
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(exchange(number)) + "\n" for number in (3, 4)))
    (tmp_path / "notes.txt").write_text("not one")
    found = read_inputs([tmp_path, tmp_path / "b.exchange.json"])
    assert [item.exchange.id for item in found] == ["id-3", "id-4", "id-2", "id-2"]
    assert [item.name for item in found][:2] == [f"{tmp_path / 'a.jsonl'}:1", f"{tmp_path / 'a.jsonl'}:2"]


def test_all_mistakes_of_files_are_reported_at_once(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "other.json").write_text('{"version": 7, "id": "x"}')
    (tmp_path / "second.jsonl").write_text(json.dumps(exchange()) + "\n{}\n")
    places = [tmp_path / name for name in ("empty", "absent", "broken.json", "other.json", "second.jsonl")]
    with pytest.raises(PreflightError) as raised:
        read_inputs(places)
    expected = [
        "empty: expected files of `gatewright record`", "absent: expected a file of recorded exchanges: No such file",
        "broken.json: expected a recorded exchange as JSON", "other.json: expected a recording of version 1, got 7",
        "second.jsonl:2: expected a recorded exchange as JSON",
    ]  # fmt: skip
    assert len(raised.value.mistakes) == len(expected)
    for mistake, start in zip(raised.value.mistakes, expected, strict=True):
        assert mistake.startswith(f"{tmp_path}/{start}")


def test_an_exchange_in_which_the_policy_had_no_turn_has_no_attachments_of_it() -> None:
    assert as_input(exchange()).attachments("tag") == [0]
    assert as_input(exchange(executions=[])).attachments("tag") == []
    assert as_input(exchange()).attachments("other") == []


# ------------------------------------------------------------------ parameters


def test_parameters_have_defaults_and_fit_the_schema(tmp_path: Path) -> None:
    policy, shop = candidate(tmp_path), read(json.dumps(exchange()).encode())
    assert Parameters().of(policy, shop) == [{"tag": "gold", "list": []}]
    assert Parameters({"tag": "silver"}).of(policy, shop) == [{"tag": "silver", "list": []}]
    with pytest.raises(PreflightError, match=r"--params: .*tag.*recordings hold no parameters"):
        Parameters({"tag": 3}).of(policy, shop)


def test_an_apis_attachments_are_in_the_chains_order(tmp_path: Path) -> None:
    file = tmp_path / "shop.yaml"
    attached = "{name: tag, version: v1, params: {tag: %s}}"
    file.write_text(f"""kind: Api
metadata: {{name: shop}}
spec:
  policies: [{{name: other, version: v1}}, {attached % "api"}]
  operations:
    - {{method: GET, path: /, policies: [{attached % "root"}]}}
    - {{method: GET, path: "/{{id}}", policies: [{attached % "one"}, {{name: tag, version: v1}}]}}
""")
    policy, parameters = candidate(tmp_path), Parameters(None, read_api(file))
    found = parameters.of(policy, read(json.dumps(exchange(operation="GET /{id} [x-v=2]")).encode()))
    assert [params["tag"] for params in found] == ["api", "one", "gold"]
    other = parameters.of(policy, read(json.dumps(exchange(api="other")).encode()))
    assert [params["tag"] for params in other] == ["gold"]


def test_parameters_are_json_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("tag: file\n")
    assert read_params('{"tag": "text"}') == {"tag": "text"}
    assert read_params(str(tmp_path / "params.yaml")) == {"tag": "file"}
    for text, expected in (("absent.json", "--params: absent.json: expected a file"), ("{", "--params")):
        with pytest.raises(PreflightError, match=expected):
            read_params(text)
    (tmp_path / "params.yaml").write_text("- tag\n")
    with pytest.raises(PreflightError, match="expected an object, got list"):
        read_params(str(tmp_path / "params.yaml"))
    (tmp_path / "api.yaml").write_text("metadata: {name: x}\n")
    with pytest.raises(PreflightError, match="kind: expected Api, got None"):
        read_api(tmp_path / "api.yaml")


# ------------------------------------------------------------------ the process


def test_each_attachment_has_its_own_parameters(tmp_path: Path) -> None:
    twice = exchange(policies=["tag:v1.0.0", "tag:v1.0.0"])
    second = {**twice["executions"][0], "index": 1}
    second["changes"] = [{"what": "header", "name": "x-tag", "before": ["gold"], "after": ["silver"]}]
    twice["executions"] = [twice["executions"][0], second]
    job = Job(candidate(tmp_path), {}, 10)
    (result,) = replay(job, [(as_input(twice), [{"tag": "gold"}, {"tag": "silver"}])])
    assert result.differences == 0
    (result,) = replay(job, [(as_input(twice), [{"tag": "gold"}])])
    assert [change.after for execution in result.executions for change in execution.differences] == [["gold"]]


def test_the_policy_gets_its_system_parameters(tmp_path: Path) -> None:
    policy = candidate(tmp_path, TAGGING.replace('params["tag"]', 'ctx.policy.system_params["tag"]'))
    policy = replace(policy, definition={**DEFINITION, "systemParameters": SCHEMA})
    for system, count in ((None, 0), ({"tag": "silver"}, 1)):
        job = Job(policy, {}, 10, Parameters(system=system).of_operator(policy))
        assert [result.differences for result in replay(job, [(as_input(exchange()), [{}])])] == [count]
    with pytest.raises(PreflightError, match="--system-params"):
        Parameters(system={"tag": 3}).of_operator(policy)


def test_a_policys_output_is_not_read_as_a_report(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    printing = TAGGING.replace("    return", "    import os; print('{\"number\": 1}'); os.write(1, b'[]')\n    return")
    assert [result.differences for result in replayed(tmp_path, printing)] == [0, 0, 0]
    assert '{"number": 1}' in capfd.readouterr().err


def test_a_process_that_ends_takes_one_exchange_with_it(tmp_path: Path) -> None:
    ending = TAGGING.replace("    return", "    if ctx.path == '/shop/1':\n        import os; os._exit(7)\n    return")
    errors = {result.input.exchange.id: result.error for result in replayed(tmp_path, ending)}
    assert errors == {"id-0": "", "id-1": "crashed: the policy ended its process, exit code 7", "id-2": ""}


def test_a_policy_that_holds_the_interpreter_is_killed(tmp_path: Path) -> None:
    """A regular expression that never ends lets no other thread run, the process's own watch included."""
    hanging = "import re\n" + TAGGING.replace(
        "    return", "    if ctx.path == '/shop/0':\n        re.match('(a+)+$', 'a' * 99 + 'b')\n    return"
    )
    errors = [result.error for result in replayed(tmp_path, hanging, 2, 2.0, grace_seconds=1.0)]
    assert sorted(errors) == ["", "timeout: no end after 2 s"]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import nothing_of_this_name", r"cannot be imported: ModuleNotFoundError: .*policy.py:1\)"),
        ("def on_request(", r"cannot be imported: SyntaxError: .*policy.py:1\)"),
        ("raise SystemExit(3)", r"cannot be imported: SystemExit: 3 \(.*policy.py:1\)"),
        ("import os; os._exit(3)", "expected its process to replay exchanges, but it ended before the first"),
    ],
)
def test_a_policy_that_cannot_be_imported_is_refused(tmp_path: Path, source: str, expected: str) -> None:
    with pytest.raises(PreflightError, match=f"tag:v1.0.0: {expected}"):
        replayed(tmp_path, source)


def test_an_import_that_hangs_is_refused(tmp_path: Path) -> None:
    policy = candidate(tmp_path, "import threading\nthreading.Event().wait()\n")
    job = Job(policy, {}, 10, import_seconds=1.0)
    with pytest.raises(
        PreflightError, match=r"cannot be imported: no end after 1 s; it is at .*policy.py:2; if it has"
    ):
        list(replay(job, [(as_input(exchange()), [{}])]))


# ------------------------------------------------------------------ candidates


def test_folders_that_hold_no_python_policy(tmp_path: Path) -> None:
    with pytest.raises(PreflightError, match=r"policy-definition.yaml: expected a file, got no such file"):
        of_folder(tmp_path, 60)
    (tmp_path / "policy-definition.yaml").write_text("name: tag\n")
    with pytest.raises(PreflightError, match="version: expected"):
        of_folder(tmp_path, 60)
    (tmp_path / "policy-definition.yaml").write_text(json.dumps({**DEFINITION, "runtime": "go"}))
    with pytest.raises(PreflightError, match=r"expected a Python policy, got tag:v1\.0\.0, which is written in Go"):
        of_folder(tmp_path, 60)
    with pytest.raises(PreflightError, match="is no build output"):
        of_build(tmp_path)


# ------------------------------------------------------------------ the report


def test_the_report_is_safe_for_a_terminal_and_fits_it(tmp_path: Path) -> None:
    odd = exchange(request={"method": "GET", "path": "/shop/\x1b[2J" + "x" * 200, "headers": []})
    odd["forwarded"] = odd["request"]
    job = Job(candidate(tmp_path, TAGGING.replace('params["tag"]', '"\\u202e"')), {}, 10)
    found = list(replay(job, [(as_input(odd), [{"tag": "gold"}]), (as_input(exchange(2)), [{"tag": "gold"}])]))
    lines = list(report.report("tag:v1.0.0", found, Paint(width=100)))
    text = "\n".join(lines)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "      - gold\n      + \\u202e" in text
    assert max(map(len, lines)) <= 100
    assert lines[-1] == "tag:v1.0.0: 2 exchanges replayed: 2 differ"
    record = json.loads(report.as_json("tag:v1.0.0", found[1]))
    assert (record["file"], record["id"], record["differences"]) == ("id-2.exchange.json", "id-2", 1)
    (difference,) = record["executions"][0]["differences"]
    assert difference == {"what": "header", "name": "x-tag", "before": ["gold"], "after": ["\u202e"]}


def test_answers_and_failures_are_shown_as_patches(tmp_path: Path) -> None:
    answer = {"status": 403, "headers": [["x-why", "no"], ["x-same", "1"]], "body": {"size": 2, "text": "no"}}
    document = exchange(answeredBy="policy")
    document["executions"][0] |= {"outcome": "answered", "changes": [{"what": "answer", "after": answer}]}
    source = """
from sdk.policy import ImmediateResponse

def on_request(ctx, params):
    return ImmediateResponse(401, {"x-why": "who", "x-same": "1"}, "no")
"""
    found = list(replay(Job(candidate(tmp_path, source), {}, 10), [(as_input(document), [{}])]))
    text = "\n".join(report.report("tag:v1.0.0", found, Paint()))
    assert "answer 403 → 401\n      - x-why: no\n      + x-why: who\n        x-same: 1" in text
    found = list(
        replay(Job(candidate(tmp_path, "def on_request(ctx, params): 1 / 0"), {}, 10), [(as_input(document), [{}])])
    )
    text = "\n".join(report.report("tag:v1.0.0", found, Paint()))
    assert re.search(r"failure\n +\+ exception: ZeroDivisionError: .* \(.*policy.py:1\)", text)
    assert "answer 403\n      - x-why: no\n      - x-same: 1\n      -\n      - no" in text


def test_a_secret_has_to_be_text_and_not_a_name(tmp_path: Path) -> None:
    schema = {"type": "object", "properties": {"tag": {"type": "string", "format": "secret"}}}
    policy = candidate(tmp_path, TAGGING.replace('params["tag"]', 'params["tag"].reveal()'))
    policy = replace(policy, definition={**DEFINITION, "parameters": schema})
    shop = read(json.dumps(exchange()).encode())
    found = Parameters({"tag": "gold"}).of(policy, shop)
    assert found == [{"tag": {"secretRef": "", "value": "gold"}}]
    (result,) = replay(Job(policy, {"headers": {}}, 10), [(as_input(exchange()), found)])
    assert (result.error, result.differences) == ("", 0)
    with pytest.raises(PreflightError, match=r"tag: expected the secret itself, got its name"):
        Parameters({"tag": {"secretRef": "upstream-key"}}).of(policy, shop)
