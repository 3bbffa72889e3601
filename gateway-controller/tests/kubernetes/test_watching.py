"""What a watch's events mean: which objects there are, and where the next watch begins."""

from __future__ import annotations

from typing import cast

import pytest
from gatewright_controller.kubernetes.cache import Cache
from gatewright_controller.kubernetes.client import ApiClient, ApiError
from gatewright_controller.kubernetes.paths import Resource
from gatewright_controller.kubernetes.watching import GoneError, Selection, Watch
from gatewright_documents.values import JsonObject

ROUTES = Resource("gateway.networking.k8s.io", "v1", "httproutes")
NO_CLIENT = cast(ApiClient, None)
"""`receive` sends nothing."""


@pytest.fixture
def cache() -> Cache:
    return Cache(["HTTPRoute"])


@pytest.fixture
def watch(cache: Cache) -> Watch:
    return Watch(NO_CLIENT, Selection("HTTPRoute", ROUTES), cache)


def event(what: str, version: str, name: str = "a", **more: object) -> JsonObject:
    metadata = {"name": name, "namespace": "shop", "resourceVersion": version, "managedFields": [{"manager": "x"}]}
    return {"type": what, "object": {"metadata": metadata, **more}}


def test_each_event_is_applied_and_says_where_the_next_watch_begins(watch: Watch, cache: Cache) -> None:
    assert watch.receive(event("ADDED", "5")) == "5"
    assert watch.receive(event("ADDED", "6", "b")) == "6"
    assert watch.receive(event("MODIFIED", "7", spec={"hostnames": ["x"]})) == "7"
    assert watch.receive(event("DELETED", "8", "b")) == "8"
    assert cache.objects() == {
        ("HTTPRoute", "shop", "a"): {
            "metadata": {"name": "a", "namespace": "shop", "resourceVersion": "7"},
            "spec": {"hostnames": ["x"]},
        }
    }


def test_a_bookmark_moves_the_beginning_and_changes_nothing(watch: Watch, cache: Cache) -> None:
    changes = cache.changes
    assert watch.receive({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "90"}}}) == "90"
    assert cache.changes == changes


def test_a_version_that_the_server_has_forgotten_leads_to_a_new_list(watch: Watch) -> None:
    with pytest.raises(GoneError):
        watch.receive({"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old"}})


def test_another_error_of_a_watch_is_one(watch: Watch) -> None:
    with pytest.raises(ApiError, match="etcd is away") as raised:
        watch.receive({"type": "ERROR", "object": {"kind": "Status", "code": 500, "message": "etcd is away"}})
    assert raised.value.status == 500


def test_paths_are_those_of_the_api_server() -> None:
    assert ROUTES.all_path() == "/apis/gateway.networking.k8s.io/v1/httproutes"
    assert ROUTES.path("shop", "a b", "status") == (
        "/apis/gateway.networking.k8s.io/v1/namespaces/shop/httproutes/a%20b/status"
    )
    assert Resource("", "v1", "namespaces").path("", "shop") == "/api/v1/namespaces/shop"
    assert (
        Selection("HTTPRoute", ROUTES, "shop").path == "/apis/gateway.networking.k8s.io/v1/namespaces/shop/httproutes"
    )
