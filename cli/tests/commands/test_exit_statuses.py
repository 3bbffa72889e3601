"""What commands that talk to a controller exit with: a table of commands and failures, against a real controller.

docs/reference/exit-statuses.md promises the numbers to scripts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click
import httpx
import pytest
import yaml
from gatewright_cli.commands.apis.planning import CHANGES
from gatewright_cli.main import cli
from gatewright_cli.mistakes import ExitStatus, exit_status_of, worst
from gatewright_cli.node.listeners.ports import free_port

from cli.tests.clients.test_management import API
from cli.tests.controller_process import TOKEN, Controller, controlling

if TYPE_CHECKING:
    from cli.tests.conftest import Invoke

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "exit-statuses.md").read_text()
ASKS = {
    "get": ["get", "apis"],
    "get NAME": ["get", "api", "one"],
    "list": ["list", "nodes"],
    "delete": ["delete", "api", "one"],
    "wait deployed": ["wait", "api", "one", "--for", "deployed", "--timeout", "0s"],
    "wait deleted": ["wait", "api", "one", "--for", "deleted", "--timeout", "0s"],
    "apply": ["apply", "-f", "one.yaml", "--timeout", "0s"],
    "apply --dry-run": ["apply", "-f", "one.yaml", "--dry-run"],
    "apply --prune": ["apply", "-f", "one.yaml", "--owner", "team-a", "--prune", "--timeout", "0s"],
    "apply --plan": ["apply", "--plan", "one.plan.json", "--timeout", "0s"],
    "plan": ["plan", "-f", "one.yaml", "-o", "new.plan.json"],
    "history": ["history", "never"],
    "diff": ["diff", "never@-1"],
    "rollback": ["rollback", "never@-1"],
    "rollback --dry-run": ["rollback", "never@-1", "--dry-run"],
    "export": ["export", "one"],
    "explain": ["explain", "0f1e"],
    "explain --last": ["explain", "--last"],
    "tail": ["tail", "--kept"],
    "record": ["record"],
    "record DIR": ["record", "recorded", "--kept"],
    "inspector": ["inspector"],
    "consumer key create": ["consumer", "key", "create", "one", "ci"],
    "consumer key import": ["consumer", "key", "import", "keys.jsonl"],
    "consumer key list": ["consumer", "key", "list", "one"],
    "consumer key delete": ["consumer", "key", "delete", "one", "ci"],
    "secret set": ["secret", "set", "one", "key=@one.yaml"],
    "secret list": ["secret", "list"],
    "secret rotate": ["secret", "rotate"],
    "secret delete": ["secret", "delete", "one"],
    "state export": ["state", "export", "-o", "one.state"],
    "token create": ["token", "create", "one", "--role", "viewer"],
    "token list": ["token", "list"],
    "token delete": ["token", "delete", "one"],
    "whoami": ["whoami"],
    "audit": ["audit"],
    "audit -o jsonl": ["audit", "-o", "jsonl"],
    "node list": ["node", "list"],
    "node show": ["node", "show", "n1"],
    "node drain": ["node", "drain", "n1"],
    "node undrain": ["node", "undrain", "n1"],
}
"""A command line of each command that talks to a controller, and of each way in which one does."""
WITHOUT_TOKEN = {"inspector"}
"""They ask for nothing that needs the token."""
ASKING_NOTHING = {"context"}
"""Of this group, a command prints which controller others would talk to."""
PLAN = """{
  "format": "gatewright.dev/plan/v1",
  "resources": {"sources": []},
  "plan": {"changes": [], "unchanged": [], "revision": 0, "digest": "of-another-world"}
}"""


@pytest.fixture(scope="module")
def controller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controller]:
    with controlling(tmp_path_factory.mktemp("c")) as controller:
        yield controller


@pytest.fixture(autouse=True)
def named(controller: Controller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("GATEWRIGHT_CONTROLLER", controller.url)
    monkeypatch.setenv("GATEWRIGHT_CONTROLLER_TOKEN", TOKEN)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "one.yaml").write_text(API.replace("NAME", "one"))
    (tmp_path / "one.plan.json").write_text(PLAN)
    (tmp_path / "keys.jsonl").write_text('{"consumer": "one", "name": "old", "key": "a-key-from-elsewhere-7f3e"}\n')
    yield
    for kind in ("apis", "tokens"):
        httpx.delete(f"{controller.url}/v1/{kind}/one", headers={"authorization": f"Bearer {TOKEN}"})


def test_the_table_has_each_command_that_talks_to_a_controller() -> None:
    talking = {
        words for words, command in single_commands(cli)
        if any("--controller" in parameter.opts for parameter in command.params) and words[0] not in ASKING_NOTHING
    }  # fmt: skip
    asked = {words for words in talking if any(tuple(asks[: len(words)]) == words for asks in ASKS.values())}
    assert talking == asked, "expected a line in ASKS for each"


def single_commands(group: click.Group, *words: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """All commands that are no groups, with the words that name them."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command
        if isinstance(command, click.Group):
            yield from single_commands(command, *words, name)
        else:
            yield (*words, name), command


def test_the_page_has_each_command_that_talks_to_a_controller() -> None:
    listed = re.findall(r"`([a-z -]+)`", PAGE.partition("talk to a controller")[0])
    assert sorted(name.removeprefix("gatewright ") for name in listed) == sorted({asks[0] for asks in ASKS.values()})


@pytest.mark.parametrize("command", ASKS)
def test_no_controller_at_all(invoke: Invoke, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.setenv("GATEWRIGHT_CONTROLLER", f"http://127.0.0.1:{free_port('127.0.0.1')}")
    status, out, err = invoke(*ASKS[command])
    assert (status, out) == (ExitStatus.UNREACHABLE, "" if command != "record DIR" else out)
    assert "gave no answer (ConnectionRefusedError)" in err


@pytest.mark.parametrize("command", sorted(ASKS.keys() - WITHOUT_TOKEN))
def test_a_wrong_token(invoke: Invoke, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.setenv("GATEWRIGHT_CONTROLLER_TOKEN", "another")
    status, _, err = invoke(*ASKS[command])
    assert (status, err.count("GATEWRIGHT_CONTROLLER_TOKEN_FILE")) == (ExitStatus.NOT_ALLOWED, 1)


@pytest.mark.parametrize("command", ASKS)
def test_an_unknown_option(invoke: Invoke, command: str) -> None:
    assert invoke(*ASKS[command], "--colour").status == ExitStatus.USAGE


@pytest.mark.parametrize(
    "command",
    [
        "get NAME",
        "delete",
        "wait deployed",
        "history",
        "diff",
        "rollback",
        "export",
        "explain",
        "explain --last",
        "token delete",
        "node show",
        "node drain",
        "node undrain",
        "secret delete",
    ],
)
def test_what_is_not_there(invoke: Invoke, command: str) -> None:
    assert invoke(*ASKS[command]).status == ExitStatus.NOT_FOUND


@pytest.mark.parametrize("command", ["wait deployed", "wait deleted", "apply", "apply --prune"])
def test_what_no_node_has(invoke: Invoke, command: str) -> None:
    assert invoke("apply", "-f", "one.yaml", "--no-wait").status == ExitStatus.DONE
    assert invoke(*ASKS[command]).status == ExitStatus.NOT_DEPLOYED


def test_another_revision(invoke: Invoke) -> None:
    invoke("apply", "-f", "one.yaml", "--no-wait")
    assert invoke("delete", "api", "one", "--revision", "1000000").status == ExitStatus.CONFLICT


def test_another_owner(invoke: Invoke) -> None:
    assert invoke(*ASKS["apply --prune"], "--no-wait").status == ExitStatus.DONE
    for command in ("plan", "apply", "apply --dry-run"):
        assert invoke(*ASKS[command], "--owner", "team-b").status == ExitStatus.CONFLICT


def test_a_plan_and_what_it_finds_later(invoke: Invoke) -> None:
    assert invoke(*ASKS["apply --plan"]).status == ExitStatus.CONFLICT
    assert invoke("plan", "-f", "one.yaml", "-o", "one.plan.json", "--exit-code").status == CHANGES
    assert invoke(*ASKS["apply --plan"], "--no-wait").status == ExitStatus.DONE
    assert invoke("plan", "-f", "one.yaml", "--exit-code").status == ExitStatus.DONE
    assert invoke(*ASKS["apply --plan"]).status == ExitStatus.CONFLICT


def test_a_name_that_is_taken(invoke: Invoke) -> None:
    assert invoke(*ASKS["token create"]).status == ExitStatus.DONE
    assert invoke(*ASKS["token create"]).status == ExitStatus.CONFLICT


@pytest.mark.parametrize("arguments", [("apply",), ("plan",)])
def test_a_missing_file_option(invoke: Invoke, arguments: tuple[str, ...]) -> None:
    assert invoke(*arguments).status == ExitStatus.USAGE


@pytest.mark.parametrize("arguments", [
    ("apply", "-f", "wrong.yaml"),
    ("apply", "-f", "wrong.yaml", "--dry-run"),
    ("apply", "-f", "none.yaml"),
    ("apply", "-f", "one.yaml", "--prune"),
    ("apply", "-f", "one.yaml", "--owner", "Team A"),
    ("apply", "-f", "one.yaml", "--plan", "one.plan.json"),
    ("apply", "--plan", "one.yaml"),
    ("plan", "-f", "wrong.yaml"),
    ("tail", "--sample", "2"),
    ("record", "--sample", "2"),
    ("get", "apis", "--context", "none", "--controller", "http://127.0.0.1:1"),
    ("token", "create", "Wrong Name", "--role", "viewer"),
])  # fmt: skip
def test_what_is_refused(invoke: Invoke, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    (tmp_path / "wrong.yaml").write_text(API.replace("GET", "G T"))
    assert invoke(*arguments).status == ExitStatus.FAILED


@pytest.mark.parametrize(
    "command",
    [
        "get",
        "list",
        "get NAME",
        "delete",
        "wait deleted",
        "apply --dry-run",
        "plan",
        "export",
        "token create",
        "token list",
        "secret list",
        "whoami",
        "audit",
        "audit -o jsonl",
    ],
)
def test_what_is_done(invoke: Invoke, command: str) -> None:
    if command not in ("wait deleted", "apply --dry-run", "plan"):
        invoke("apply", "-f", "one.yaml", "--no-wait")
    assert invoke(*ASKS[command]).status == ExitStatus.DONE


def test_of_several_outcomes_the_worst_counts() -> None:
    assert worst([]) is worst([ExitStatus.DONE]) is ExitStatus.DONE
    assert worst([ExitStatus.NOT_DEPLOYED, ExitStatus.NOT_FOUND]) is ExitStatus.NOT_FOUND
    assert worst([ExitStatus.FAILED, ExitStatus.NOT_ALLOWED, ExitStatus.CONFLICT]) is ExitStatus.NOT_ALLOWED
    for status in ExitStatus:
        if status is not ExitStatus.USAGE:  # click's
            assert worst([status, ExitStatus.DONE]) is status


@pytest.mark.parametrize(("http_status", "status"), [
    (400, 1), (401, 7), (403, 7), (404, 3), (409, 4), (412, 4), (413, 1), (422, 1), (429, 6), (500, 1), (503, 6),
    (507, 1),
])  # fmt: skip
def test_answers_of_the_controller(http_status: int, status: int) -> None:
    assert exit_status_of(http_status) == status


def test_the_page_has_all_of_them() -> None:
    rows = re.findall(r"^\| (\d) \| (.+) \|$", PAGE, re.MULTILINE)
    assert [int(number) for number, _ in rows] == sorted(ExitStatus)
    (answers,) = re.findall(r"^\| HTTP status \|.*\n.*\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    assert yaml.safe_load("\n".join(
        f"{http_status}: {number}"
        for row in answers.splitlines()
        for codes, number in re.findall(r"^\| ([\d, ]+) \| (\d) \|", row)
        for http_status in codes.split(", ")
    )) == {401: 7, 403: 7, 404: 3, 409: 4, 412: 4, 429: 6, 503: 6}  # fmt: skip
