"""`gatewright token`, `whoami` and `audit`, against a real controller to which no node is connected."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import msgspec
import pytest
import yaml
from gatewright_cli.commands.access import audit_log
from gatewright_cli.commands.access.tokens import OPTIONS, ROLES, TOKEN
from gatewright_cli.commands.resources.kinds import Resource
from gatewright_cli.commands.resources.output import table
from gatewright_cli.mistakes import ExitStatus
from gatewright_controller import access
from gatewright_controller.management.shapes.access import WantedToken

from cli.tests.clients.test_management import API
from cli.tests.controller_process import TOKEN as CONTROLLERS_TOKEN
from cli.tests.controller_process import Controller, controlling

if TYPE_CHECKING:
    from cli.tests.conftest import Invoke

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


@pytest.fixture
def controller(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Controller]:
    """The commands' controller, with an empty log."""
    with controlling(tmp_path_factory.mktemp("c")) as controller:
        monkeypatch.setenv("GATEWRIGHT_CONTROLLER", controller.url)
        monkeypatch.setenv("GATEWRIGHT_CONTROLLER_TOKEN", CONTROLLERS_TOKEN)
        yield controller


def send(
    controller: Controller, method: str, path: str, document: object = None, token: str = CONTROLLERS_TOKEN
) -> int:
    """The status of the answer."""
    headers = {"authorization": f"Bearer {token}"}
    return httpx.request(method, f"{controller.url}{path}", json=document, headers=headers).status_code


def test_a_token_from_its_creation_to_its_end(
    controller: Controller, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    bounds = ("--label", "team=payments", "--api", "pay-*", "--host", "pay.example", "--path", "/pay", "--path", "/buy")
    status, text, err = invoke("token", "create", "ci", "--role", "publisher", *bounds, "--days", "90")
    assert (status, re.fullmatch(r"gatewright_[\w-]{43}\n", text) is not None) == (0, True), text
    apis = (
        "APIs with a name like pay-* and hosts of pay.example and a context of /pay or /buy"
        " and the label team=payments"
    )  # fmt: skip
    assert re.fullmatch(
        f"writing to {controller.url}\n"
        f"ci has the role publisher for {re.escape(apis)}, until {TIME}; the token is shown this once: keep it\n",
        err,
    ), err
    listed = invoke("token", "list").out
    assert re.fullmatch(
        rf"NAME +ROLE +FOR +CREATED BY +EXPIRES\nci +publisher +{re.escape(apis)} +token +{TIME}\n", listed
    )
    assert text.strip() not in listed
    monkeypatch.setenv("GATEWRIGHT_CONTROLLER_TOKEN", text.strip())
    status, out, _ = invoke("whoami")
    assert (status, out) == (0, (
        f"token:ci at {controller.url}\n"
        f"role    publisher, for {apis}\n"
        "rights  apis:read, apis:write, caller:read, consumers:read, consumers:write, "
        "exchanges:read, nodes:read, requests:send, secrets:read, secrets:write\n"
    ))  # fmt: skip
    monkeypatch.setenv("GATEWRIGHT_CONTROLLER_TOKEN", CONTROLLERS_TOKEN)
    status, out, err = invoke("token", "delete", "nil", "ci", "--reason", "it has leaked")
    assert (status, out) == (ExitStatus.NOT_FOUND, "ci deleted\n")
    assert "error: 404 there is no token nil" in err
    assert invoke("token", "list", "-o", "name").out == ""
    assert json.loads(invoke("audit", "--limit", "1", "-o", "json").out)[0]["reason"] == "it has leaked"
    monkeypatch.setenv("GATEWRIGHT_CONTROLLER_TOKEN", text.strip())
    assert invoke("whoami").status == ExitStatus.NOT_ALLOWED


def test_the_whole_answer_is_printed_as_json(controller: Controller, invoke: Invoke) -> None:  # noqa: ARG001
    created = json.loads(invoke("token", "create", "ann", "--role", "viewer", "-o", "json", "--reason", "for Ann").out)
    assert (created["name"], created["role"], created.pop("token").startswith("gatewright_")) == ("ann", "viewer", True)
    assert json.loads(invoke("token", "list", "-o", "json").out) == [created]
    assert yaml.safe_load(invoke("token", "list", "-o", "yaml").out) == created
    assert json.loads(invoke("whoami", "-o", "json").out)["actor"] == "token"
    (entry,) = json.loads(invoke("audit", "-o", "json").out)
    assert (entry["name"], entry["reason"]) == ("ann", "for Ann")


def test_mistakes_name_the_options(controller: Controller, invoke: Invoke) -> None:  # noqa: ARG001
    wrong = ("--api", "a b", "--label", "A=1", "--host", "*", "--path", "x", "--days", "0")
    status, out, err = invoke("token", "create", "Bad", "--role", "admin", *wrong)
    assert (status, out) == (ExitStatus.FAILED, "")
    found = re.findall(r"^error: ([\w-]+): expected .*, got .*$", err, re.MULTILINE)
    assert sorted(found) == ["--api", "--days", "--host", "--label", "--path", "NAME"], err
    status, out, err = invoke("token", "create", "bound", "--role", "admin", "--api", "a")
    assert (status, "error: --role: expected an admin for all APIs" in err) == (ExitStatus.FAILED, True), err
    assert invoke("token", "create", "ci", "--role", "viewer").status == ExitStatus.DONE
    status, _, err = invoke("token", "create", "ci", "--role", "viewer")
    assert (status, "error: 409 there is a token ci already" in err) == (ExitStatus.CONFLICT, True), err


@pytest.mark.parametrize(("arguments", "expected"), [
    (("token", "create", "ci"), "Missing option '--role'"),
    (("token", "create", "ci", "--role", "root"), "'root' is not one of 'admin', 'publisher', 'viewer'"),
    (("token", "create", "ci", "--role", "viewer", "--label", "team"), "expected KEY=VALUE, such as team=payments"),
    (("token", "delete"), "Missing argument 'NAME...'"),
    (("audit", "--since", "yesterday"), "expected a duration such as 2h, or a time such as 2026-11-30T08:00:00Z"),
    (("audit", "--limit", "0"), "0 is not in the range x>=1"),
])  # fmt: skip
def test_usage_mistakes_exit_with_2(invoke: Invoke, arguments: tuple[str, ...], expected: str) -> None:
    status, out, err = invoke(*arguments)
    assert (status, out) == (ExitStatus.USAGE, "")
    assert expected in err


def test_roles_and_members_are_the_controllers() -> None:
    assert ROLES == access.ROLES
    assert {field.encode_name for field in msgspec.structs.fields(WantedToken)} == OPTIONS.keys()


def test_a_table_says_which_tokens_have_expired() -> None:
    bounds: Resource = {"names": [], "labels": {}, "hosts": [], "contexts": []}
    token = {"name": "ci", "role": "viewer", **bounds, "createdAt": "2025", "createdBy": "local", "expired": False}
    old = {**token, "name": "old", "expiresAt": "2026", "expired": True}
    assert table(TOKEN.columns, [token, old]) == (
        "NAME  ROLE    FOR        CREATED BY  EXPIRES\n"
        "ci    viewer  every API  local       never\n"
        "old   viewer  every API  local       expired 2026\n"
    )


def test_what_a_token_may_not_do_is_said_with_the_cure(
    controller: Controller, invoke: Invoke, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "one.yaml"
    file.write_text(API.replace("NAME", "one"))
    assert invoke("apply", "-f", file, "--no-wait").status == ExitStatus.DONE
    file.write_text(file.read_text().replace("GET", "POST"))
    viewer = invoke("token", "create", "ann", "--role", "viewer").out.strip()
    bound = invoke("token", "create", "ci", "--role", "publisher", "--api", "pay-*").out.strip()
    of_viewer = "token:ann has not the right "
    of_bound = "expected one of the APIs with a name like pay-*, which token:ci is for, got one"
    for token, refusal, commands in (
        (viewer, of_viewer, "apply -f FILE; delete api one; token list; audit; rollback one@-1; tail --kept"),
        (bound, of_bound, "apply -f FILE; plan -f FILE; delete api one; history one; get api one"),
    ):
        monkeypatch.setenv("GATEWRIGHT_CONTROLLER_TOKEN", token)
        for command in commands.replace("FILE", str(file)).split("; "):
            status, _, err = invoke(*command.split())
            assert (status, err.count(f"403 {refusal}")) == (ExitStatus.NOT_ALLOWED, 1), (command, err)
            assert err.endswith("; `gatewright whoami` prints what you may do there\n"), (command, err)
    assert send(controller, "GET", "/v1/apis/one") == 200


def test_too_many_requests_are_said_with_the_time_to_wait(
    tmp_path: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWRIGHT_CONTROLLER_REQUESTS_PER_SECOND", "0.2")
    with controlling(tmp_path) as controller:
        monkeypatch.setenv("GATEWRIGHT_CONTROLLER", controller.url)
        monkeypatch.setenv("GATEWRIGHT_CONTROLLER_TOKEN", CONTROLLERS_TOKEN)
        monkeypatch.setenv(
            "GATEWRIGHT_CONTROLLER_TOKEN", invoke("token", "create", "ci", "--role", "viewer").out.strip()
        )
        assert invoke("get", "apis").status == ExitStatus.DONE
        status, _, err = invoke("get", "apis")
    assert (status, "429 there were too many requests of token:ci" in err) == (ExitStatus.UNREACHABLE, True), err
    assert re.search(r"\(Retry-After: [1-5] s\)$", err), err


@pytest.fixture
def written(controller: Controller) -> Controller:
    """A controller whose log has five entries of `one`: it was created and changed, a change of it was refused, and it
    was changed and deleted."""
    document = yaml.safe_load(API.replace("NAME", "one"))
    assert send(controller, "POST", "/v1/apis?reason=new%20shop", document) == 201
    for context, status in (("/a", 200), ("wrong", 422), ("/b", 200)):
        document["spec"]["context"] = context
        assert send(controller, "PUT", "/v1/apis/one", document) == status
    assert send(controller, "DELETE", "/v1/apis/one") == 204
    return controller


def test_the_log_as_a_table(written: Controller, invoke: Invoke) -> None:  # noqa: ARG001
    headings, *rows = invoke("audit").out.splitlines()
    assert headings.split() == ["AT", "ACTOR", "ORIGIN", "ACTION", "RESOURCE", "OUTCOME", "REASON", "DETAIL"]
    assert [re.split(r" {2,}", row)[1:6] for row in rows] == [
        ["token", "127.0.0.1", "deleted", "api/one@4", "done"],
        ["token", "127.0.0.1", "changed", "api/one@3", "done"],
        ["token", "127.0.0.1", "replaceApi", "api/one", "refused 422"],
        ["token", "127.0.0.1", "changed", "api/one@2", "done"],
        ["token", "127.0.0.1", "created", "api/one@1", "done"],
    ]
    assert "spec.context: expected " in rows[2]
    assert rows[4].endswith("  new shop  -")
    _, deleted, *lines = invoke("audit", "--changes", "--limit", "2").out.splitlines()
    assert re.match(TIME, deleted)
    assert lines[:2] == ["    --- one@3", "    +++ /dev/null"]
    diff = lines[next(number for number, line in enumerate(lines) if re.match(TIME, line)) + 1 :]
    assert {"    -  context: /a", "    +  context: /b"} <= set(diff), diff


def test_filters_and_limits(written: Controller, invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001
    def numbers(*options: str) -> list[int]:
        return [json.loads(line)["number"] for line in invoke("audit", "-o", "jsonl", *options).out.splitlines()]

    newest = json.loads(invoke("audit", "--limit", "1", "-o", "json").out)[0]
    monkeypatch.setattr(audit_log, "MOST_ENTRIES", 2)  # so that there are several pages
    assert numbers() == [5, 4, 3, 2, 1]
    assert numbers("--limit", "3") == [5, 4, 3]
    assert numbers("--refused") == [3]
    assert numbers("--done", "--name", "one", "--actor", "token") == [5, 4, 2, 1]
    assert numbers("--actor", "token:ci") == []
    assert numbers("--since", "1h") == [5, 4, 3, 2, 1]
    assert numbers("--since", newest["at"], "--limit", "1") == [5]
    assert numbers("--since", "2100-01-01T00:00:00+02:00") == []
    monkeypatch.setattr(audit_log, "SHOWN", 3)
    assert len(json.loads(invoke("audit", "-o", "json").out)) == 3
    assert len(invoke("audit").out.splitlines()) == 4


def test_an_export_has_each_entry_as_the_controller_answers(written: Controller, invoke: Invoke) -> None:
    headers = {"authorization": f"Bearer {CONTROLLERS_TOKEN}"}
    answered = httpx.get(f"{written.url}/v1/audit?changes=true", headers=headers).json()["entries"]
    assert [json.loads(line) for line in invoke("audit", "--changes", "-o", "jsonl").out.splitlines()] == answered
    assert ["diff" in entry for entry in answered] == [True, True, False, True, True]


def test_a_change_reaches_the_terminal_without_commands() -> None:
    entry = {
        "at": "2026-11-30T12:00:00.000Z", "actor": "token", "origin": "127.0.0.1", "action": "changed", "kind": "Api",
        "name": "one", "revision": 2, "outcome": "done", "status": 200, "reason": "two\nlines",
        "diff": "--- a\n+  b: \x9b2J",
    }  # fmt: skip
    _, row, *lines = audit_log.table([entry])
    assert row.endswith("  two lines  -")
    assert lines == ["    --- a", r"    +  b: \x9b2J"]
