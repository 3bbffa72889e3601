from __future__ import annotations

import asyncio

import pytest
from gatewright_controller.kubernetes.cache import Cache
from gatewright_documents.values import JsonObject


def route(version: str, *, status: object = None, spec: object = None, name: str = "a") -> JsonObject:
    return {
        "metadata": {"name": name, "namespace": "shop", "resourceVersion": version},
        "spec": spec or {},
        "status": status,
    }


def test_a_status_is_a_change_and_no_input() -> None:
    cache = Cache(["HTTPRoute"])
    cache.replace("HTTPRoute", [route("1")])
    inputs, changes = cache.inputs, cache.changes
    cache.put("HTTPRoute", route("2", status={"parents": []}))
    assert (cache.inputs, cache.changes) == (inputs, changes + 1)
    cache.put("HTTPRoute", route("3", spec={"hostnames": ["x"]}))
    assert cache.inputs == inputs + 1


def test_a_second_list_of_the_same_is_no_input() -> None:
    cache = Cache(["HTTPRoute"])
    cache.replace("HTTPRoute", [route("1")])
    inputs = cache.inputs
    cache.replace("HTTPRoute", [route("7")])
    assert cache.inputs == inputs
    assert cache.objects()["HTTPRoute", "shop", "a"]["metadata"]["resourceVersion"] == "7"
    cache.replace("HTTPRoute", [])
    assert cache.inputs == inputs + 1


def test_it_is_complete_once_each_kind_was_listed_even_without_objects() -> None:
    cache = Cache(["Gateway", "HTTPRoute"])
    cache.replace("Gateway", [])
    assert not cache.is_complete
    cache.replace("HTTPRoute", [])
    assert cache.is_complete


def test_what_goes_is_an_input_once() -> None:
    cache = Cache(["HTTPRoute"])
    cache.replace("HTTPRoute", [route("1"), route("1", name="b")])
    inputs = cache.inputs
    cache.drop("HTTPRoute", route("2"))
    cache.drop("HTTPRoute", route("2"))
    assert cache.inputs == inputs + 1
    assert list(cache.objects()) == [("HTTPRoute", "shop", "b")]


@pytest.mark.anyio
async def test_a_change_wakes_all_that_wait() -> None:
    cache = Cache(["HTTPRoute"])
    waiting = [asyncio.create_task(cache.wait_for_change()) for _ in range(2)]
    await asyncio.sleep(0)
    cache.replace("HTTPRoute", [])
    await asyncio.gather(*waiting)
