from __future__ import annotations

import pytest
from gatewright_controller.management.policies_on_path import may_run_policies
from gatewright_controller.model import from_document
from gatewright_controller.store import StoredApi
from gatewright_documents.values import JsonObject

POLICY = {"name": "log-message", "version": "v1"}


def stored(context: str, *operations: JsonObject, policies: list[JsonObject] | None = None) -> StoredApi:
    spec = {
        "version": "v1.0",
        "context": context,
        "upstream": {"main": {"url": "http://a:1"}},
        "policies": policies or [],
        "operations": list(operations),
    }
    api = {"apiVersion": "gatewright.dev/v1", "kind": "Api", "metadata": {"name": "a"}, "spec": spec}
    return StoredApi(from_document(api), 1, "", "")


def operation(method: str, path: str, *policies: JsonObject) -> JsonObject:
    return {"method": method, "path": path, "policies": list(policies)}


ORDERS = stored(
    "/orders/$version",
    operation("GET", "/{id}", POLICY),
    operation("GET", "/{id}/plain"),
    operation("*", "/files/*", POLICY),
    operation("POST", "/", POLICY),
)


@pytest.mark.parametrize(
    ("method", "path", "may"),
    [
        ("GET", "/orders/v1.0/7", True),
        ("HEAD", "/orders/v1.0/7", True),
        ("OPTIONS", "/orders/v1.0/7", True),
        ("GET", "/orders/v1.0/7/", True),
        ("PUT", "/orders/v1.0/7", False),
        ("GET", "/orders/v1.0/7/plain", False),
        ("GET", "/orders/v1.0/7/8", False),
        ("PURGE", "/orders/v1.0/files/a/b", True),
        ("POST", "/orders/v1.0", True),
        ("POST", "/orders/v1.0/", True),
        ("GET", "/orders/v1.1/7", False),
        ("GET", "/orders", False),
        ("GET", "/", False),
        ("GET", "//orders/v1.0/7", True),
        ("GET", "/other/../orders/v1.0/7", True),
        ("GET", "/orders/v1.0/%37", True),
    ],
)
def test_whether_policies_may_run(method: str, path: str, may: bool) -> None:
    assert may_run_policies([ORDERS], method, path) is may


def test_policies_of_the_api_run_for_each_operation() -> None:
    everything = stored("/", operation("GET", "/a/{b}"), policies=[POLICY])
    assert may_run_policies([everything], "GET", "/a/b")
    assert not may_run_policies([everything], "GET", "/a")
    assert not may_run_policies([], "GET", "/a/b")
