from __future__ import annotations

from pathlib import Path

import pytest
from gatewright_cli.node.specs import environment
from gatewright_cli.supervision.probes import Accepts
from gatewright_cli.supervision.specs import Inherits, ProcessSpec

SECRETS = ("GATEWRIGHT_CONTROLLER_TOKEN", "AWS_SECRET_ACCESS_KEY", "DATABASE_URL")


@pytest.mark.parametrize(
    "lists", [environment.ENVOY, environment.ECHO, environment.executor(()), environment.engine(())]
)
def test_no_process_gets_a_variable_that_is_on_no_list(lists: Inherits) -> None:
    assert [name for name in SECRETS if lists.has(name)] == []
    assert all(map(lists.has, ("PATH", "LC_ALL", "https_proxy")))


def test_an_executor_is_not_led_to_other_code() -> None:
    found = environment.executor(("TENANT",))
    assert found.has("TENANT")
    assert found.has("PYTHONHASHSEED")
    assert not any(map(found.has, ("PYTHONPATH", "PYTHONSTARTUP", "PYTHONHOME", "PYTHONUSERBASE")))
    assert environment.CONTROLLER.has("PYTHONPATH")


def test_the_engine_gets_the_variables_that_tune_go() -> None:
    assert environment.engine(()).has("GOMAXPROCS")
    assert not environment.executor(()).has("GOMAXPROCS")


def test_each_name_that_cannot_be_passed_is_a_mistake_of_its_own() -> None:
    own = {"TENANT": "blue", "GATEWRIGHT_RUN": "x"}
    mistakes = list(environment.passed_mistakes(["TENANT", "A=b", "", "GATEWRIGHT_RUN", "NONE"], own))
    assert [mistake.split(", got ")[1].split(":")[0] for mistake in mistakes] == [
        "'A=b'",
        "''",
        "GATEWRIGHT_RUN",
        "NONE",
    ]


def test_withheld_variables_are_listed_by_name() -> None:
    spec = ProcessSpec("a", ("true",), Accepts(path=Path("a")), inherits=environment.executor(["TENANT"]))
    own = dict.fromkeys(["PATH", "TENANT", *SECRETS], "x")
    assert environment.withheld([spec], own) == tuple(sorted(SECRETS))
