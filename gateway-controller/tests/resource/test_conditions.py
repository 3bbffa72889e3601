"""Mistakes in conditions, which an engine finds. A script stands for it; e2e/policies/test_conditions.py has one."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import pytest
from gatewright_controller.resource import conditions as module
from gatewright_controller.resource.conditions import ConditionMistake, Conditions, RememberedConditions
from gatewright_controller.resource.definitions import Definitions, load_definitions
from gatewright_controller.validation import validate
from gatewright_documents.mistake import Invalid
from gatewright_documents.values import JsonObject, JsonValue

SAYS = '[null,{"line":2,"column":7,"message":"expected a, got b"},{"message":"expected a text, got none"}]'


def program(folder: Path, *lines: str) -> Path:
    """A script in place of the engine."""
    path = folder / "policy-engine"
    path.write_text("\n".join(["#!/bin/sh", *lines]) + "\n")
    path.chmod(0o755)
    return path


def test_each_mistake_stands_where_its_condition_does(
    tmp_path: Path, orders: JsonObject, definitions: Definitions
) -> None:
    engine = program(tmp_path, f"[ \"$1\" = check-conditions ] && cat > {tmp_path}/asked && echo '{SAYS}'")
    orders["spec"]["policies"] = [{"name": "log-message", "version": "v1"}] * 2
    orders["spec"]["policies"][1] = {"name": "log-message", "version": "v1", "when": "one"}
    orders["spec"]["operations"] = [
        {"method": "GET", "path": f"/{text}", "policies": [{"name": "log-message", "version": "v1", "when": text}]}
        for text in ("two", "three")
    ]
    with pytest.raises(Invalid) as caught:
        validate(orders, definitions, {}, conditions=Conditions(engine))
    assert list(map(str, caught.value.mistakes)) == [
        "spec.operations[0].policies[0].when: expected a, got b (at character 7 of its line 2)",
        "spec.operations[1].policies[0].when: expected a text, got none",
    ]
    assert (tmp_path / "asked").read_text() == '["one","two","three"]'


RULES = """
name: rules
version: v1.0.0
runtime: go
processingMode: {requestHeaderMode: PROCESS}
parameters:
  type: object
  properties:
    rules: {type: array, items: {type: object, properties: {when: {$ref: "#/$defs/cel"}, name: {type: string}}}}
    fallback: {$ref: "#/$defs/cel", default: "false"}
  $defs: {cel: {type: string, format: cel}}
"""


def test_parameters_may_be_conditions_too(tmp_path: Path, orders: JsonObject) -> None:
    """Defaults are checked too: nodes compile what is stored."""
    (tmp_path / "rules.yaml").write_text(RULES)
    says = '[null,{"line":1,"column":3,"message":"expected a, got b"},null,{"message":"expected a text, got none"}]'
    engine = program(tmp_path, f"cat > {tmp_path}/asked && echo '{says}'")
    params = {"rules": [{"when": "two", "name": "n"}, {"name": "m"}, {"when": "three"}]}
    orders["spec"]["policies"] = [{"name": "rules", "version": "v1", "when": "one", "params": params}]
    orders["spec"]["operations"] = [{"method": "GET", "path": "/x"}]
    with pytest.raises(Invalid) as caught:
        validate(orders, load_definitions(tmp_path), {}, conditions=Conditions(engine))
    assert list(map(str, caught.value.mistakes)) == [
        "spec.policies[0].params.fallback: expected a text, got none",
        "spec.policies[0].params.rules[0].when: expected a, got b (at character 3)",
    ]
    assert (tmp_path / "asked").read_text() == '["one","two","three","false"]'


@pytest.mark.parametrize("params", [{"rules": "two"}, {"rules": [{"when": 3}]}, {"fallback": None}, ["one"], "one"])
def test_parameters_that_do_not_fit_are_no_conditions(tmp_path: Path, orders: JsonObject, params: JsonValue) -> None:
    (tmp_path / "rules.yaml").write_text(RULES)
    orders["spec"]["policies"] = [{"name": "rules", "version": "v1", "params": params}]
    orders["spec"]["operations"] = [{"method": "GET", "path": "/x"}]
    with pytest.raises(Invalid) as caught:
        validate(orders, load_definitions(tmp_path), {}, conditions=Conditions(program(tmp_path, "cat; exit 1")))
    assert all(mistake.field.startswith("spec.policies[0].params") for mistake in caught.value.mistakes)


def test_without_a_condition_the_engine_is_not_asked(
    tmp_path: Path, orders: JsonObject, definitions: Definitions
) -> None:
    validate(orders, definitions, {}, conditions=Conditions(program(tmp_path, f"touch {tmp_path}/asked")))
    assert not (tmp_path / "asked").exists()


def test_the_engine_gets_nothing_of_the_controllers_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWRIGHT_CONTROLLER_TOKEN", "secret")
    engine = program(tmp_path, f"/usr/bin/env > {tmp_path}/environment", "echo '[null]'")
    assert Conditions(engine).mistakes(["true"]) == [None]
    assert "secret" not in (tmp_path / "environment").read_text()


@pytest.mark.parametrize("line", ["exit 1", "echo nonsense", "echo '[null, 3]'", "echo '[]'", "kill -9 $$"])
def test_an_engine_that_cannot_be_asked_leaves_it_to_the_nodes(
    tmp_path: Path, line: str, orders: JsonObject, definitions: Definitions, caplog: pytest.LogCaptureFixture
) -> None:
    orders["spec"]["policies"] = [{"name": "log-message", "version": "v1", "when": "request.method"}]
    with caplog.at_level(logging.ERROR):
        validate(orders, definitions, {}, conditions=Conditions(program(tmp_path, line)))
    assert "conditions are left to the nodes to check" in caplog.text


def test_without_an_engine_nodes_check(orders: JsonObject, definitions: Definitions) -> None:
    orders["spec"]["policies"] = [{"name": "log-message", "version": "v1", "when": "nonsense ("}]
    assert validate(orders, definitions, {}, conditions=Conditions(Path("/nowhere/policy-engine")))
    assert validate(orders, definitions, {})


class CountedConditions(Conditions):
    """Finds a mistake in each text that begins with "bad"."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[list[str]] = []

    def mistakes(self, texts: Sequence[str]) -> list[ConditionMistake | None]:
        self.asked.append(list(texts))
        return [ConditionMistake(f"expected another, got {text}") if text.startswith("bad") else None for text in texts]


def test_what_was_asked_once_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = CountedConditions()
    remembered = RememberedConditions(counted)
    for _ in range(2):
        first, second, third = remembered.mistakes(["good", "bad", "good"])
        assert (first, third, str(second)) == (None, None, "expected another, got bad")
    assert remembered.mistakes(["bad", "bad 2"])[1] is not None
    assert counted.asked == [["good", "bad"], ["bad 2"]]
    monkeypatch.setattr(module, "MOST_KEPT", 1)
    assert remembered.mistakes(["good", "new"]) == [None, None]
    assert counted.asked[-1] == ["good", "new"]
