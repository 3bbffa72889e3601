"""What an API is with the Defaults that fit it: a table of cases, and what holds for any."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import msgspec
import pytest
from gatewright_controller.model import Api, Defaults, defaults_from_document, from_document
from gatewright_controller.resource.definitions import Definitions
from gatewright_controller.resource.effective import Effective, effective
from gatewright_controller.resource.known_defaults import changed_between, concern
from gatewright_controller.resource.versions import newest_versions
from gatewright_documents.values import JsonObject
from hypothesis import given
from hypothesis import strategies as st

CASES: list[JsonObject] = msgspec.yaml.decode((Path(__file__).parent.parent / "testdata/effective.yaml").read_bytes())


def api_of(case: JsonObject) -> Api:
    written = case.get("api", {})
    spec = {
        "version": "v1",
        "context": "/here",
        "upstream": {"main": {"url": "http://up"}},
        "operations": [{"method": "GET", "path": "/"}],
        **written.get("spec", {}),
    }
    metadata = {"name": "here", "labels": written.get("labels", {})}
    return from_document({"apiVersion": "gatewright.dev/v1", "kind": "Api", "metadata": metadata, "spec": spec})


def defaults_of(name: str, spec: JsonObject) -> Defaults:
    document = {"apiVersion": "gatewright.dev/v1", "kind": "Defaults", "metadata": {"name": name}, "spec": spec}
    return defaults_from_document(document)


def whole(case: JsonObject, definitions: Definitions, order: list[str] | None = None) -> Effective:
    api, written = api_of(case), case.get("defaults", {})
    defaults = [defaults_of(name, written[name]) for name in order or written]
    return effective(api, newest_versions(api, definitions), defaults, definitions)


def policies(found: Effective) -> list[str]:
    pairs = zip(found.policies, found.api.spec.policies, strict=True)
    return [f"{origin.defaults}/{policy.name}".removeprefix("/") for origin, policy in pairs]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["case"])
def test_a_case_of_the_table(case: JsonObject, definitions: Definitions) -> None:
    found = whole(case, definitions)
    assert policies(found) == case.get("policies", [])
    settings = {name: [setting.value, setting.origin.defaults] for name, setting in found.settings.items()}
    assert settings == case.get("settings", {})
    for name, (value, _) in case.get("settings", {}).items():
        assert msgspec.to_builtins(found.api.spec).get(name) == value
    if operation := case.get("operation"):
        assert msgspec.to_builtins(found.api.spec.operations[0]) == operation
    assert found.is_own == ("defaults" not in case or found.api == api_of(case))


@given(data=st.data())
def test_the_order_in_which_defaults_were_written_says_nothing(data: Any, definitions: Definitions) -> None:
    case = data.draw(st.sampled_from([case for case in CASES if len(case.get("defaults", {})) > 1]))
    order = data.draw(st.permutations(list(case["defaults"])))
    assert whole(case, definitions, order) == whole(case, definitions)


def test_versions_are_those_of_what_runs(definitions: Definitions) -> None:
    headers = {"headers": [{"name": "a", "value": "b"}]}
    added = {"name": "add-headers", "version": "v1", "params": headers}
    case = {
        "api": {"spec": {"policies": [{"name": "count", "version": "v1"}, {**added, "version": "v1.0.0"}]}},
        "defaults": {"all": {"policies": {"before": [added], "after": [{"name": "gone", "version": "v7"}]}}},
    }
    found = whole(case, definitions)
    assert found.versions == ("v1.10.0", "v1.0.0", "v1.0.0", "v7")


def test_a_field_is_said_where_it_was_written(definitions: Definitions) -> None:
    case = {
        "api": {"spec": {"policies": [{"name": "count", "version": "v1"}], "idleTimeout": "9s"}},
        "defaults": {"all": {"policies": {"before": [{"name": "guard", "version": "v1"}]}, "requestTimeout": "1s"}},
    }
    place = whole(case, definitions).place
    assert place("spec.policies[0].params.x") == "Defaults all: spec.policies.before[0].params.x"
    assert place("spec.policies[1].params.x") == "spec.policies[0].params.x"
    assert place("spec.requestTimeout") == "Defaults all: spec.requestTimeout"
    assert place("spec.idleTimeout") == "spec.idleTimeout"
    assert place("spec.operations[0].policies[0]") == "spec.operations[0].policies[0]"


def test_a_change_concerns_the_apis_that_it_fits_before_or_after() -> None:
    team, other = {"for": {"labels": {"team": "a"}}}, {"for": {"labels": {"team": "b"}}}
    before = {"d": defaults_of("d", {**team, "requestTimeout": "1s"}), "same": defaults_of("same", {})}
    after = {**before, "d": defaults_of("d", {**other, "requestTimeout": "1s"})}
    changed = changed_between(before, after)
    apis = [api_of({"api": {"labels": {"team": team}}}) for team in ("a", "b", "c")]
    assert [concern(changed, api) for api in apis] == [True, True, False]
    assert changed_between(before, copy.deepcopy(before)) == []


def test_a_number_and_a_truth_are_different() -> None:
    def known(value: object) -> dict[str, Defaults]:
        policy = {"name": "p", "version": "v1", "params": {"x": value}}
        return {"d": defaults_of("d", {"policies": {"before": [policy]}})}

    assert changed_between(known(1), known(True))
