"""No object stops the translation of the others: whatever is missing or empty in one, its status says so or it is
passed over."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
from gatewright_controller.gateway_api import CONTROLLER_NAME, Objects, complete, translate
from gatewright_controller.translate import EdgeSettings
from gatewright_controller.translate import translate as translate_api
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
            replacements: list[JsonValue] = [None, {}]
            for replacement in replacements:
                by_key = {**objects.by_key, key: changed(found, path, replacement)}
                complete(translate(Objects(by_key, objects.policies), CONTROLLER_NAME), {}, {})


def test_a_host_with_more_than_an_api_may_have() -> None:
    """The oldest routes are served, and all of a route or nothing."""
    by_key, key = dict(case("matches").by_key), ("HTTPRoute", "shop", "large")
    rules = [{"matches": [{"path": {"value": f"/{rule}-{match}"}} for match in range(60)]} for rule in range(16)]
    spec = {"parentRefs": [{"name": "web"}], "rules": rules}
    for number in range(2):
        name = f"large-{number}"
        metadata = {"name": name, "namespace": "shop", "creationTimestamp": f"2025-01-0{number + 1}T00:00:00Z"}
        by_key[key[0], key[1], name] = {"kind": "HTTPRoute", "metadata": metadata, "spec": spec}
    translation = translate(Objects(by_key, shipped_policies()), CONTROLLER_NAME)
    (api,) = [document for document in translation.documents if document["kind"] == "Api"]
    validate(api, shipped_policies(), {}, is_written=True)
    conditions = [
        translation.statuses[key[0], key[1], f"large-{number}"]["parents"][0]["conditions"][0] for number in range(2)
    ]
    assert [found["status"] for found in conditions] == ["True", "False"]
    assert "give some of them a host of their own" in conditions[1]["message"]


def test_policies_of_a_host_with_many_backends_choose_none_of_them() -> None:
    """They would have a route for each backend, and reach those of other namespaces."""
    by_key, rules = dict(case("matches").by_key), []
    for number in range(90):
        name = f"many-{number}"
        metadata = {"name": name, "namespace": "shop"}
        by_key["Service", "shop", name] = {"kind": "Service", "metadata": metadata, "spec": {"ports": [{"port": 80}]}}
        by_key["EndpointSlice", "shop", name] = {
            **by_key["EndpointSlice", "shop", "one-1"],
            "metadata": {**metadata, "labels": {"kubernetes.io/service-name": name}},
            "ports": [{"port": 80}],
        }
        change = {"type": "ResponseHeaderModifier", "responseHeaderModifier": {"remove": ["server"]}}
        paths = [{"path": {"value": f"/{number}/{part}"}} for part in ("a", "b")]
        rules.append({"matches": paths, "filters": [change], "backendRefs": [{"name": name, "port": 80}]})
    spec = {"parentRefs": [{"name": "web"}], "hostnames": ["many.example"], "rules": rules}
    key = ("HTTPRoute", "shop", "many")
    by_key[key] = {"kind": "HTTPRoute", "metadata": {"name": "many", "namespace": "shop"}, "spec": spec}
    translation = translate(Objects(by_key, shipped_policies()), CONTROLLER_NAME)
    (api,) = [found for found in translation.documents if found["spec"].get("hosts") == ["many.example"]]
    assert len(api["spec"]["upstream"]) * len(api["spec"]["operations"]) > 10_000
    answered = [operation["path"] for operation in api["spec"]["operations"] if "answer" in operation]
    assert answered == ["/r1/*"]  # of the other route
    bundle = translate_api(validate(api, shipped_policies(), {}, is_written=True), shipped_policies(), EdgeSettings())
    assert not bundle.message.chosen_routes
    assert not any(chain.upstreams for chain in bundle.message.chains)
