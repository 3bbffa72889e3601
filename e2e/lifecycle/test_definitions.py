"""Definitions and versions of policies change while requests pass, and over restarts: the APIs go with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from e2e.kit.commands import apply
from e2e.kit.gateway import Gateway, Json, api, attach, eventually, running
from e2e.kit.policy_project import PolicyProject
from e2e.kit.upstream import Upstream
from e2e.lifecycle.test_reload import load, show_word

SAYS = """\
from sdk.policy import UpstreamRequestModifications, UpstreamResponseModifications

def prepare(params):
    return params{field}

def on_request(ctx, params):
    return UpstreamRequestModifications(set_headers={{"x-request-word": ctx.prepared}})

def on_response(ctx, params):
    return UpstreamResponseModifications(set_headers={{"x-response-word": ctx.prepared}})
"""
OLD = "parameters: {type: object, properties: {word: {type: string, default: old}}}\n"
NEW = "parameters: {type: object, properties: {text: {type: string, default: new}}}\n"
ONE_STEP = "change both in one step, `gatewright apply --reload -f FILE`"
STRICT = "parameters: {type: object, required: [text], properties: {text: {type: string}}}\n"


def write_old_version(project: PolicyProject, name: str, version: str = "v1.0.0", word: str = "old") -> None:
    project.write_policy(
        name, SAYS.format(field='["word"]'), version, more=OLD.replace("default: old", f"default: {word}")
    )


CODE_AND_PARAMS = """\
from sdk.policy import UpstreamRequestModifications, UpstreamResponseModifications

def prepare(params):
    return "CODE sees " + " ".join(f"{name}={value}" for name, value in sorted(params.items()))

def on_request(ctx, params):
    return UpstreamRequestModifications(set_headers={"x-request-word": ctx.prepared})

def on_response(ctx, params):
    return UpstreamResponseModifications(set_headers={"x-response-word": ctx.prepared})
"""


@pytest.fixture(scope="module")
def shared_project(tmp_path_factory: pytest.TempPathFactory) -> PolicyProject:
    """A policy for each test that changes one."""
    policies = PolicyProject(tmp_path_factory.mktemp("shared"), "e2e-definitions", ("log-message",))
    for name in ("changes", "refused", "moves"):
        write_old_version(policies, name)
    policies.write_policy("one-step", CODE_AND_PARAMS.replace("CODE", "old"), more=OLD)
    return policies


@pytest.fixture(scope="module")
def changing_gateway(shared_project: PolicyProject, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    state = tmp_path_factory.mktemp("state")
    with running(None, state, *shared_project.arguments, "--executors", "2") as gateway:
        yield gateway


@pytest.fixture
def deploy(changing_gateway: Gateway, upstream: Upstream) -> Iterator[Callable[[str], str]]:
    """deploy(policy) → the URL of an API of the same name that has it, until the test ends."""
    upstream.reply = show_word
    deployed: list[str] = []

    def deploy_api(name: str) -> str:
        changing_gateway.deploy(api(name, upstream.url, [attach(name)]))
        deployed.append(name)
        return f"{changing_gateway.url}/{name}/x"

    yield deploy_api
    for name in deployed:
        changing_gateway.remove(name)


@pytest.fixture
def project(tmp_path: Path) -> PolicyProject:
    """That of a gateway of the test's own."""
    policies = PolicyProject(tmp_path, "e2e-definitions-own", ("log-message",))
    write_old_version(policies, "says")
    return policies


def word(gateway: Gateway, name: str = "says") -> str:
    answer = httpx.get(f"{gateway.url}/{name}/x")
    assert answer.status_code == 200, answer.text
    return answer.headers["x-response-word"]


def status(gateway: Gateway, name: str = "says") -> Json:
    with gateway.controller() as client:
        answer: Json = client.get(f"/v1/apis/{name}/status").json()
    return answer


def test_a_changed_definition_is_taken_over_with_its_apis_and_fails_no_request(
    changing_gateway: Gateway, shared_project: PolicyProject, deploy: Callable[[str], str]
) -> None:
    with load(deploy("changes")) as flow:
        eventually("some traffic before", lambda: len(flow.answers) > 50)
        shared_project.write_policy(
            "changes", SAYS.format(field='["text"]'), more=NEW
        )  # the new code cannot take the old parameters
        result = changing_gateway.reload()
        assert result.returncode == 0, result.stderr
        eventually("the new default", lambda: word(changing_gateway, "changes") == "new")
        counted = len(flow.answers)
        eventually("some traffic after", lambda: len(flow.answers) > counted + 50)
    assert flow.failures() == []
    assert flow.crossed() == []
    assert {answer[2] for answer in flow.answers} == {"old", "new"}
    assert status(changing_gateway, "changes")["state"] == "deployed"
    eventually("the old executors go", lambda: len(changing_gateway.executors()) == 2, 60)


def test_a_changed_definition_that_an_api_does_not_fit_is_refused_with_the_cure(
    changing_gateway: Gateway, shared_project: PolicyProject, deploy: Callable[[str], str]
) -> None:
    before = {executor["pid"] for executor in changing_gateway.executors()}
    with load(deploy("refused")) as flow:
        shared_project.write_policy("refused", SAYS.format(field='["text"]'), more=STRICT)
        result = changing_gateway.reload()
        write_old_version(shared_project, "refused")
        counted = len(flow.answers)
        eventually("some traffic after", lambda: len(flow.answers) > counted + 20)
    assert result.returncode == 1
    assert f"API refused: spec.policies[0].params.text: expected a string, got nothing; {ONE_STEP}" in result.stderr
    assert flow.failures() == []
    assert {answer[2] for answer in flow.answers} == {"old"}
    assert {executor["pid"] for executor in changing_gateway.executors()} == before


def api_file(folder: Path, *definitions: Json) -> str:
    path = folder / "apis.yaml"
    path.write_text(yaml.safe_dump_all(definitions, sort_keys=False))
    return str(path)


def test_a_required_parameter_and_the_api_that_sets_it_change_in_one_step(
    changing_gateway: Gateway,
    shared_project: PolicyProject,
    deploy: Callable[[str], str],
    upstream: Upstream,
    tmp_path: Path,
) -> None:
    """No request meets the new policy with the old parameters, nor the reverse; a refused change leaves both."""
    new = api("one-step", upstream.url, [attach("one-step", {"text": "hello"})])
    wrong = api("wrong", upstream.url, [attach("one-step", {"text": 7})])
    with load(deploy("one-step")) as flow:
        eventually("some traffic before", lambda: len(flow.answers) > 50)
        api_first = apply(changing_gateway, "-f", api_file(tmp_path, new))
        assert (api_first.returncode, word(changing_gateway, "one-step")) == (1, "old sees word=old")
        assert "deploy both: `gatewright apply --reload -f FILE`" in api_first.stderr
        shared_project.write_policy("one-step", CODE_AND_PARAMS.replace("CODE", "new"), more=STRICT)
        policy_first = changing_gateway.reload()
        assert (policy_first.returncode, word(changing_gateway, "one-step")) == (1, "old sees word=old")
        assert ONE_STEP in policy_first.stderr
        before = status(changing_gateway, "one-step")
        with_a_mistake = apply(changing_gateway, "--reload", "-f", api_file(tmp_path, new, wrong))
        assert (with_a_mistake.returncode, with_a_mistake.stdout) == (1, "")
        assert "apis.yaml:" in with_a_mistake.stderr
        assert "spec.policies[0].params.text: expected a string, got 7" in with_a_mistake.stderr
        assert (status(changing_gateway, "one-step"), word(changing_gateway, "one-step")) == (
            before,
            "old sees word=old",
        )
        result = apply(changing_gateway, "--reload", "-f", api_file(tmp_path, new))
        assert result.returncode == 0, result.stderr
        assert result.stdout.startswith("reloaded generation=")
        assert result.stdout.endswith("one-step changed, deployed\n")
        assert word(changing_gateway, "one-step") == "new sees text=hello"
        counted = len(flow.answers)
        eventually("some traffic after", lambda: len(flow.answers) > counted + 50)
    assert flow.failures() == []
    assert flow.crossed() == []
    assert {answer[2] for answer in flow.answers} == {"old sees word=old", "new sees text=hello"}
    eventually("the old executors go", lambda: len(changing_gateway.executors()) == 2, 60)
    again = apply(changing_gateway, "--reload", "-f", api_file(tmp_path, new))
    assert (again.returncode, again.stdout.splitlines()[-1]) == (0, "one-step unchanged, deployed")


def test_a_policy_without_the_system_parameters_that_it_needs_is_refused(
    changing_gateway: Gateway, shared_project: PolicyProject
) -> None:
    more = "systemParameters: {type: object, required: [issuer], properties: {issuer: {type: string}}}\n"
    shared_project.write_policy("needs", SAYS.format(field='["word"]'), more=OLD + more)
    result = changing_gateway.reload()
    shared_project.remove_policy("needs")
    assert result.returncode == 1
    message = "systemParameters.needs.issuer: expected a string, got nothing"
    assert f"{message}; set it in GATEWRIGHT_CONTROLLER_SYSTEM_PARAMETERS" in result.stderr


def test_an_api_that_asks_for_v1_moves_when_its_version_is_gone(
    changing_gateway: Gateway, shared_project: PolicyProject, deploy: Callable[[str], str]
) -> None:
    url = deploy("moves")
    write_old_version(shared_project, "moves", "v1.1.0", "newer")
    assert changing_gateway.reload().returncode == 0
    assert word(changing_gateway, "moves") == "old"  # it keeps its version
    with load(url) as flow:
        shared_project.remove_policy("moves")
        result = changing_gateway.reload()
        assert result.returncode == 0, result.stderr
        assert "API moves has moves v1.1.0, since the build no longer has v1.0.0" in result.stdout + result.stderr
        eventually("it has moved", lambda: word(changing_gateway, "moves") == "newer")
    assert flow.failures() == []
    assert [policy["version"] for policy in status(changing_gateway, "moves")["policies"]] == ["v1.1.0"]


def test_versions_move_over_a_restart_or_the_status_has_the_reason(
    project: PolicyProject, tmp_path: Path, upstream: Upstream
) -> None:
    upstream.reply = show_word
    with running(None, tmp_path / "state", *project.arguments) as first:
        first.deploy(api("says", upstream.url, [attach("says")]))
        first.deploy(api("exact", upstream.url, [{"name": "says", "version": "v1.0.0", "params": {}}]))
    project.remove_policy("says")
    write_old_version(project, "says", "v1.0.1", "patched")
    with running(None, tmp_path / "state", *project.arguments) as second:
        eventually("it serves", lambda: httpx.get(f"{second.url}/says/x").status_code == 200)
        assert word(second) == "patched"
        assert [policy["version"] for policy in status(second)["policies"]] == ["v1.0.1"]
        assert second.find_records(message="an API of the last good state waits for the controller", api="says")
        assert not second.find_records(level="error", api="says"), "it was served a moment later"
        answer = httpx.get(f"{second.url}/exact/x")
        assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
        assert status(second, "exact")["state"] == "rejected"
        assert "expected a version of says in this build, v1.0.1, got 'v1.0.0'" in status(second, "exact")["reason"]
        write_old_version(project, "says")
        assert second.reload().returncode == 0
        eventually("it is back", lambda: httpx.get(f"{second.url}/exact/x").status_code == 200)


def test_a_saved_definition_goes_live_with_its_apis(project: PolicyProject, tmp_path: Path, upstream: Upstream) -> None:
    upstream.reply = show_word
    with running(None, tmp_path / "state", *project.arguments, "--watch") as gateway:
        gateway.deploy(api("says", upstream.url, [attach("says")]))
        assert word(gateway) == "old"
        write_old_version(project, "says", word="saved")
        eventually("the new default", lambda: word(gateway) == "saved", 30)
        project.write_policy("says", SAYS.format(field='["text"]'), more=STRICT)
        eventually(
            "the refusal", lambda: [record for record in gateway.records() if "got nothing" in record["message"]], 30
        )
        assert word(gateway) == "saved"
        assert [record for record in gateway.records() if ONE_STEP in record["message"]]
        new = api("says", upstream.url, [attach("says", {"text": "both"})])
        result = apply(gateway, "--reload", "-f", api_file(tmp_path, new))
        assert (result.returncode, word(gateway)) == (0, "both"), result.stderr
