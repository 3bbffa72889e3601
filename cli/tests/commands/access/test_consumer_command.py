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
