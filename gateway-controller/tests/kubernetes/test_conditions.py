from __future__ import annotations

from typing import Any

import pytest
from gatewright_controller.kubernetes.conditions import has_ours, is_programmed, merge_patch, merge_status, without_ours
from gatewright_documents.values import JsonObject
from hypothesis import given
from hypothesis import strategies as st

OURS, THEIRS = "gatewright.dev/gateway-controller", "example.com/other"
BEFORE, NOW = "2026-01-01T00:00:00Z", "2026-02-02T00:00:00Z"
REF = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "web"}


def condition(status: str, *, kind: str = "Accepted", reason: str = "Accepted", since: str = "") -> JsonObject:
    made = {"type": kind, "status": status, "reason": reason, "message": "", "observedGeneration": 1}
    return {**made, "lastTransitionTime": since} if since else made


def merged(live: JsonObject, draft: JsonObject) -> JsonObject:
    return merge_status(live, draft, OURS, NOW)


@pytest.mark.parametrize(("before", "since"), [("True", BEFORE), ("False", NOW), ("Unknown", NOW)])
def test_the_time_of_a_condition_changes_with_its_status_alone(before: str, since: str) -> None:
    live = {"conditions": [condition(before, since=BEFORE, reason="Other")]}
    assert merged(live, {"conditions": [condition("True")]}) == {"conditions": [condition("True", since=since)]}


def test_conditions_of_listeners_are_matched_by_the_names_of_listeners() -> None:
    live = {
        "listeners": [
            {"name": "b", "attachedRoutes": 0, "conditions": [condition("True", since=BEFORE)]},
            {"name": "gone", "conditions": [condition("True", since=BEFORE)]},
        ]
    }
    draft = {"listeners": [{"name": name, "attachedRoutes": 2, "conditions": [condition("True")]} for name in "ab"]}
    assert merged(live, draft)["listeners"] == [
        {"name": "a", "attachedRoutes": 2, "conditions": [condition("True", since=NOW)]},
        {"name": "b", "attachedRoutes": 2, "conditions": [condition("True", since=BEFORE)]},
    ]


def entry(controller: str, *conditions: JsonObject, name: str = "web", key: str = "parentRef") -> JsonObject:
    return {key: {**REF, "name": name}, "controllerName": controller, "conditions": list(conditions)}


@pytest.mark.parametrize(("field", "key"), [("parents", "parentRef"), ("ancestors", "ancestorRef")])
def test_entries_of_other_controllers_stay_in_their_places(field: str, key: str) -> None:
    theirs = entry(THEIRS, condition("False", since=BEFORE), key=key)
    ours = entry(OURS, condition("True", since=BEFORE), key=key)
    stale = entry(OURS, condition("True", since=BEFORE), name="gone", key=key)
    live = {field: [stale, theirs, ours]}
    draft = {field: [entry(OURS, condition("True"), key=key), entry(OURS, condition("True"), name="new", key=key)]}
    assert merged(live, draft)[field] == [
        theirs,
        ours,
        entry(OURS, condition("True", since=NOW), name="new", key=key),
    ]


def test_a_reference_is_the_same_with_and_without_what_the_server_fills_in() -> None:
    live = {"parents": [entry(OURS, condition("True", since=BEFORE))]}
    draft = {"parents": [{**entry(OURS, condition("True")), "parentRef": {"name": "web"}}]}
    assert merged(live, draft) == live


def test_parents_that_differ_by_section_are_two() -> None:
    drafted = [{**entry(OURS, condition("True")), "parentRef": {**REF, "sectionName": name}} for name in "ab"]
    assert len(merged({}, {"parents": drafted})["parents"]) == 2


def test_an_object_that_is_no_longer_ours_loses_our_entries_alone() -> None:
    theirs = entry(THEIRS, condition("True", since=BEFORE))
    live = {"parents": [theirs, entry(OURS, condition("True", since=BEFORE))]}
    assert has_ours(live, OURS)
    assert without_ours(live, OURS) == {"parents": [theirs]}
    assert not has_ours({"parents": [theirs]}, OURS)


def test_what_a_draft_says_no_more_goes() -> None:
    live = {"addresses": [{"type": "IPAddress", "value": "10.0.0.1"}], "conditions": []}
    assert merge_patch(live, merged(live, {"conditions": []})) == {"addresses": None}


@pytest.mark.parametrize("status", ["True", "False", "Unknown"])
def test_what_nodes_serve_is_said_anywhere_in_a_status(status: str) -> None:
    found = {"parents": [{"conditions": [condition("True"), condition(status, kind="Programmed")]}]}
    assert is_programmed(found) is (status == "True")
    assert not is_programmed(None)


values = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(st.sampled_from("abc"), values, max_size=3)


def without_nulls(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {name: without_nulls(inner) for name, inner in value.items() if inner is not None}


def patched(target: Any, patch: Any) -> Any:
    """As RFC 7386, section 2, has it."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = patched(result.get(name), value)
    return result


@given(objects.map(without_nulls), objects.map(without_nulls))
def test_a_patch_makes_the_one_of_the_other(before: JsonObject, after: JsonObject) -> None:
    patch = merge_patch(before, after)
    assert patched(before, patch) == after
    assert bool(patch) == (before != after)
