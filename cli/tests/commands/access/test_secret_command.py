"""`gatewright secret`, and what other commands show of a Secret, against a real controller without a node."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from gatewright_cli.commands.access.secrets import read_values
from gatewright_cli.mistakes import ExitStatus, PreflightError

from cli.tests.controller_process import TOKEN, Controller, controlling

if TYPE_CHECKING:
    from cli.tests.conftest import Invoke

OLD, NEW = "11" * 32, "22" * 32
PLANTED = "planted-value-of-a-secret"


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    file = tmp_path / "keys"
    file.write_text(OLD)
    return file


@pytest.fixture
def controller(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, keys: Path
) -> Iterator[Controller]:
    monkeypatch.setenv("GATEWRIGHT_CONTROLLER_SECRET_KEY_FILE", str(keys))
    with controlling(tmp_path_factory.mktemp("c")) as controller:
        monkeypatch.setenv("GATEWRIGHT_CONTROLLER", controller.url)
        monkeypatch.setenv("GATEWRIGHT_CONTROLLER_TOKEN", TOKEN)
        yield controller


def test_values_come_from_files_and_standard_input(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("one\n\n")
    assert read_values([f"a=@{tmp_path}/a", "b=-"], lambda: b"two\r\n") == {"a": "one\n", "b": "two"}


@pytest.mark.parametrize(
    ("assignments", "mistake"),
    [
        (["key=planted"], "key: expected KEY=@FILE, or KEY=- for standard input, got the value itself"),
        (["planted"], "got the value itself"),
        (["=@x"], "argument: expected KEY=@FILE"),
        (["a=@"], "a: expected KEY=@FILE"),
        (["a=-", "b=-"], "b: expected one key from standard input, got more"),
        (["a=-", "a=-"], "a: expected one key from standard input"),
        (["a=@/nowhere"], "a: /nowhere: No such file or directory"),
    ],
)
def test_what_is_no_source_of_a_value_is_refused(assignments: list[str], mistake: str) -> None:
    with pytest.raises(PreflightError) as refused:
        read_values(assignments, lambda: b"x")
    assert mistake in str(refused.value.mistakes)
    assert "=planted" not in str(refused.value.mistakes)


def test_a_secret_from_its_creation_to_its_end(
    controller: Controller, invoke: Invoke, tmp_path: Path, keys: Path
) -> None:
    outputs: list[str] = []

    def run(*words: str) -> tuple[int, str, str]:
        status, out, err = invoke(*words)
        outputs.extend((out, err))
        return status, out, err

    (tmp_path / "key").write_text(f"{PLANTED}\n")
    source = f"key=@{tmp_path}/key"
    assert run("secret", "set", "pay", source, "--label", "team=a") == (
        0,
        "pay created\n",
        f"writing to {controller.url}\n",
    )
    assert run("secret", "set", "pay", source)[1] == "pay unchanged\n"
    assert run("secret", "set", "pay", source.replace("key=", "other="), "--reason", "more")[1] == "pay changed\n"
    listed = run("secret", "list")[1].splitlines()
    assert listed[0].split() == ["NAME", "KEYS", "UPDATED", "USED", "BY", "STATE", "REASON"]
    assert listed[1].split()[:2] == ["pay", "key,other"]
    (file := tmp_path / "pay.yaml").write_text(run("get", "secret", "pay", "-o", "yaml")[1])
    document = yaml.safe_load(file.read_text())
    assert document["metadata"] == {"name": "pay", "labels": {"team": "a"}}
    assert "Secret pay unchanged" in run("apply", "-f", str(file))[1]
    document["spec"]["values"]["key"] = PLANTED + "-2"
    file.write_text(yaml.safe_dump(document))
    assert "change Secret pay (revision 2)" in run("plan", "-f", str(file), "--diff")[1]
    assert run("plan", "-f", str(file), "-o", str(tmp_path / "plan.json"))[0] == ExitStatus.FAILED
    assert "Secret pay changed" in run("apply", "-f", str(file))[1]
    assert "more" in run("history", "secret/pay")[1]
    assert "# a new value" in run("diff", "secret/pay@-1")[1]
    assert "rolled back" in run("rollback", "secret/pay@-1")[1]
    assert "pay would be changed" in run("rollback", "secret/pay@1", "--dry-run")[1]
    keys.write_text(f"{NEW}\n{OLD}")
    assert run("secret", "rotate")[1].startswith("5 documents encrypted by the key ")
    assert run("secret", "rotate")[1].startswith("0 documents")
    keys.write_text("33" * 32)
    status, _, err = run("secret", "rotate")
    assert (status, "pay: none of the controller's keys decrypts" in err) == (ExitStatus.CONFLICT, True)
    assert json.loads(run("get", "secrets", "-o", "json")[1])[0]["status"]["state"] == "unreadable"
    assert run("audit", "--changes")[0] == 0
    assert run("secret", "delete", "nil", "pay")[:2] == (ExitStatus.NOT_FOUND, "pay deleted\n")
    assert [output for output in outputs if PLANTED in output] == []


def test_values_are_taken_from_files_that_a_document_names(
    controller: Controller, invoke: Invoke, tmp_path: Path
) -> None:
    del controller
    (tmp_path / "vault").mkdir()
    (value := tmp_path / "vault" / "pay.txt").write_text(f"{PLANTED}\n")
    (file := tmp_path / "pay.yaml").write_text(
        "# a comment\n---\napiVersion: gatewright.dev/v1\nkind: Secret\nmetadata: {name: pay}\n"
        "spec:\n  valuesFromFiles:\n    key: vault/pay.txt\n"
    )
    plan = tmp_path / "plan.json"
    assert invoke("plan", "-f", str(file), "-o", str(plan))[0] == 0
    assert PLANTED not in plan.read_text()
    value.write_text(PLANTED + "-2")
    status, out, err = invoke("apply", "--plan", str(plan))
    assert (status, PLANTED in out + err) == (ExitStatus.CONFLICT, False), "it is another value than was planned"
    value.write_text(PLANTED)
    assert "Secret pay created" in invoke("apply", "--plan", str(plan))[1]
    assert "Secret pay unchanged" in invoke("apply", "-f", str(file))[1]
    assert "1 unchanged" in invoke("plan", "-f", str(file))[1]
    value.write_bytes(b"\xff")
    for words in (("apply", "-f", str(file)), ("plan", "-f", str(file)), ("apply", "--plan", str(plan))):
        refused = invoke(*words)
        assert refused[0] == ExitStatus.FAILED
        assert f"{file}: spec.valuesFromFiles.key: expected UTF-8 text, got other bytes" in refused[2]
    value.unlink()
    assert f"valuesFromFiles.key: {value}: No such file or directory" in invoke("apply", "-f", str(file))[2]
    file.write_text(file.read_text().replace("key: vault/pay.txt", "Key: vault/pay.txt"))
    value.write_text(PLANTED)
    wrong = invoke("apply", "-f", str(file))[2]
    assert "pay.yaml:7: spec.valuesFromFiles" in wrong
    assert PLANTED not in wrong
