"""`gatewright consumer`, and what other commands show of consumers and plans, against a real controller."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from gatewright_cli.mistakes import ExitStatus

from cli.tests.controller_process import TOKEN, Controller, controlling

if TYPE_CHECKING:
    from cli.tests.conftest import Invoke

DOCUMENTS = """
apiVersion: gatewright.dev/v1
kind: Plan
metadata: {name: gold}
spec:
  limits: [{requests: 5, per: 1s}]
  quotas: [{requests: 9, period: day}]
---
apiVersion: gatewright.dev/v1
kind: Consumer
metadata: {name: acme}
spec: {plan: gold}
"""


@pytest.fixture
def controller(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Controller]:
    with controlling(tmp_path_factory.mktemp("c")) as controller:
        monkeypatch.setenv("GATEWRIGHT_CONTROLLER", controller.url)
        monkeypatch.setenv("GATEWRIGHT_CONTROLLER_TOKEN", TOKEN)
        yield controller


@pytest.mark.usefixtures("controller")
def test_a_key_from_its_creation_to_its_end(invoke: Invoke, tmp_path: Path) -> None:
    (file := tmp_path / "consumers.yaml").write_text(DOCUMENTS)
    assert invoke("apply", "-f", str(file))[0] == ExitStatus.DONE
    status, out, err = invoke("consumer", "key", "create", "acme", "ci", "--days", "2", "--reason", "for a test")
    assert (status, out.startswith("gwk_"), "shown this once" in err) == (ExitStatus.DONE, True, True)
    assert "5/1s" in invoke("get", "plans")[1]
    assert invoke("get", "consumers")[1].splitlines()[1].split()[:2] == ["acme", "gold"]
    listed = invoke("consumer", "key", "list", "acme", "-o", "json")[1]
    assert [key["name"] for key in json.loads(listed)] == ["ci"]
    assert "ci" in invoke("consumer", "key", "list", "acme")[1]
    assert out.strip() not in listed
    assert "for a test" in invoke("audit")[1]
    assert invoke("consumer", "key", "create", "acme", "ci")[0] == ExitStatus.CONFLICT
    assert invoke("consumer", "key", "create", "none", "ci")[0] == ExitStatus.NOT_FOUND
    assert "days" in invoke("consumer", "key", "create", "acme", "other", "--days", "0")[2]
    assert invoke("consumer", "key", "delete", "acme", "ci")[1] == "ci deleted\n"
    assert invoke("consumer", "key", "delete", "acme", "ci")[0] == ExitStatus.NOT_FOUND
    assert "no consumer with the plan gold" in invoke("delete", "plan", "gold")[2]
    assert invoke("delete", "consumer", "acme")[:2] == (ExitStatus.DONE, "acme deleted\n")


OLD, OTHER = "planted-old-7f3e0a5c9d1b4e6f", "planted-other-1c9b7d5f3e0a8c6b"


def lines(*keys: tuple[str, str, str]) -> str:
    return "".join(json.dumps({"consumer": consumer, "name": name, "key": key}) + "\n" for consumer, name, key in keys)


@pytest.mark.usefixtures("controller")
def test_keys_from_elsewhere(invoke: Invoke, tmp_path: Path) -> None:
    """They keep working, no output has one, and a second import changes nothing."""
    (file := tmp_path / "consumers.yaml").write_text(DOCUMENTS)
    assert invoke("apply", "-f", str(file))[0] == ExitStatus.DONE
    (acme_key := tmp_path / "acme.key").write_text(f"{OLD}\n")
    outputs: list[str] = []

    def run(*words: str) -> tuple[int, str, str]:
        done = invoke("consumer", "key", *words)
        outputs.extend(done[1:])
        return done

    status, out, err = run("create", "acme", "old", "--key-file", str(acme_key))
    assert (status, out, "old is a key of acme without an end\n" in err) == (ExitStatus.DONE, "", True)
    again = run("create", "acme", "same", "--key-file", str(acme_key))
    assert (again[0], "this key is in use already" in again[2]) == (ExitStatus.CONFLICT, True)
    (keys := tmp_path / "keys.jsonl").write_text(lines(("acme", "old", OLD), ("acme", "kong-1", OTHER)))
    status, out, err = run("import", str(keys))
    assert (status, out) == (ExitStatus.DONE, "1 key imported, 1 was there already\n")
    assert err.endswith(f"{keys} has the keys in clear: delete it\n")
    assert run("import", str(keys))[1] == "0 keys imported, 2 were there already\n"
    assert [key["name"] for key in json.loads(run("list", "acme", "-o", "json")[1])] == ["kong-1", "old"]
    keys.write_text(
        lines(("acme", "short", OTHER[:12]), ("none", "k", OLD), ("acme", "x", OLD), ("acme", "y", f"{OLD}y"))
    )
    status, out, err = run("import", str(keys))
    assert (status, out) == (ExitStatus.FAILED, "1 key imported\n"), "it goes on after a refusal"
    refused = {line.removeprefix(f"error: {keys}:")[0]: line for line in err.splitlines() if line.startswith("error: ")}
    assert "acme short: key: expected 22 to 4096 printable ASCII characters" in refused["1"]
    assert "there is no Consumer none" in refused["2"]
    assert "acme x: 409 this key is in use already" in refused["3"]
    keys.write_text(f'{lines(("acme", "z", OLD))}{{"consumer": "acme", "key": "{OTHER}"}}\n"{OTHER}\n')
    status, out, err = run("import", str(keys))
    assert (status, out, err.count("expected a line like")) == (ExitStatus.FAILED, "", 2), "nothing is imported"
    outputs.append(invoke("audit", "-o", "jsonl")[1])
    assert [text for text in outputs if "planted" in text] == []
