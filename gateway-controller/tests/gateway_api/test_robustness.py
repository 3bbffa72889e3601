"""No object stops the translation of the others: whatever is missing or empty in one, its status says so or it is
passed over."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
from gatewright_controller.gateway_api import CONTROLLER_NAME, Objects, complete, translate
from gatewright_controller.validation import validate
from gatewright_documents.values import JsonValue

from .cases import case, shipped_policies
from .test_cases import NAMES

Path = tuple[str | int, ...]


def places(value: JsonValue, path: Path = ()) -> Iterator[Path]:
    """Of all that an object says, but its kind and name."""
    if path and path[0] in ("kind", "apiVersion", "metadata"):
        return
    if path:
        yield path
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in members:
        yield from places(inner, (*path, key))


def changed(value: JsonValue, path: Path, replacement: JsonValue) -> JsonValue:
    made = copy.deepcopy(value)
    holder = made
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = replacement
    return made


@pytest.mark.parametrize("name", NAMES)
def test_nothing_raises(name: str) -> None:
    """Each field in turn is null, and each list and object is empty."""
    objects = case(name)
    for key, found in objects.by_key.items():
        if key[0] in ("Namespace", "Service", "EndpointSlice"):
            continue
        for path in places(found):
            for replacement in (None, {}):
                by_key = {**objects.by_key, key: changed(found, path, replacement)}
                complete(translate(Objects(by_key, objects.policies), CONTROLLER_NAME), {}, {})


def test_a_host_with_more_than_an_api_may_have() -> None:
    """The oldest routes are served, and all of a route or nothing."""
    objects = case("matches")
    key = ("HTTPRoute", "shop", "large")
    rules = [{"matches": [{"path": {"value": f"/{rule}-{match}"}} for match in range(60)]} for rule in range(16)]
    spec = {"parentRefs": [{"name": "web"}], "rules": rules}
    for number in range(2):
        name = f"large-{number}"
        metadata = {"name": name, "namespace": "shop", "creationTimestamp": f"2025-01-0{number + 1}T00:00:00Z"}
        objects.by_key[(*key[:2], name)] = {"kind": "HTTPRoute", "metadata": metadata, "spec": spec}
    translation = translate(objects, CONTROLLER_NAME)
    (api,) = [document for document in translation.documents if document["kind"] == "Api"]
    validate(api, shipped_policies(), {}, is_written=True)
    conditions = [
        translation.statuses[(*key[:2], f"large-{number}")]["parents"][0]["conditions"][0] for number in range(2)
    ]
    assert [found["status"] for found in conditions] == ["True", "False"]
    assert "give some of them a host of their own" in conditions[1]["message"]
