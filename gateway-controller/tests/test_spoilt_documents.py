"""Documents that are spoilt anywhere: each is valid, and can be rendered, or has mistakes. Never an exception.

What a dry run says of one is what the write says then, and until then nothing has happened.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from gatewright_controller._gen import node_pb2
from gatewright_controller.apis.controller import Controller
from gatewright_controller.gateway.gateways import Gateways
from gatewright_controller.management.api import create_app
from gatewright_controller.model import to_document
from gatewright_controller.resource.api_text import api_text
from gatewright_controller.resource.definitions import Definitions
from gatewright_controller.store import open_store
from gatewright_controller.translate import EdgeSettings, translate, translate_gateway
from gatewright_controller.validation import GatewayNames, validate
from gatewright_controller.validation.gateway import validate_gateway
from gatewright_documents.mistake import Invalid
from gatewright_documents.values import JsonObject
from gatewright_documents.yaml_reader import parse_yaml, read_yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

HERE = Path(__file__).parent / "testdata"
GATEWAY = GatewayNames(certificates=["gateway"], authorities=["internal"], listeners=["public", "inside"])
STRANGE: list[Any] = [
    None, True, False, 0, -1, 2**63, 2**70, 1.5, 1e300, "", "*", "/", "/*", "/{a}/{b}", "/{a}/{a}", "%", "a\x00b", "\n",
    "é", "²", "\ud7ff", "[::1]", "[::", "http://", "http://[::1", "http://a:99999", "http://a b", "unix:", "unix:/x",
    "https://a", "grpcs://a/b", "0s", "1ms", "99999999999s", "1.5s", "x" * 70_000, [], {}, [[]], [{}], {"": {}},
    {"a": None}, ["main", "main"], "main", "canary", "[a-", "(?=a)", "a{1000}", "200-100", "::", "0.0.0.0/0",
    "1.2.3.4/99", "a:0", "a:65536",
]  # fmt: skip


def read(pattern: str) -> list[JsonObject]:
    found = [parse_yaml(path.read_bytes()) for path in sorted(HERE.glob(pattern))]
    return [document for document in found if isinstance(document, dict)]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all values inside."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inside:
        yield (*path, key)
        yield from places(item, (*path, key))


def at(value: Any, path: Sequence[Any]) -> Any:
    for step in path:
        value = value[step]
    return value


def spoilt(documents: list[JsonObject]) -> st.SearchStrategy[JsonObject]:
    """A document with up to three changes: a value is replaced, removed, or added where it does not belong."""
    taken = [at(document, path) for document in documents for path in places(document)]
    keys = sorted({path[-1] for document in documents for path in places(document) if isinstance(path[-1], str)})

    @st.composite
    def made(draw: st.DrawFn) -> JsonObject:
        document = copy.deepcopy(draw(st.sampled_from(documents)))
        for _ in range(draw(st.integers(1, 3))):
            if not (known := list(places(document))):
                break
            *above, last = draw(st.sampled_from(known))
            parent, value = at(document, above), copy.deepcopy(draw(st.sampled_from(STRANGE) | st.sampled_from(taken)))
            how = draw(st.sampled_from(["another", "another", "gone", "more"]))
            if how == "gone":
                del parent[last]
            elif how == "another":
                parent[last] = value
            elif isinstance(parent, dict):
                parent[draw(st.sampled_from(keys))] = value
            else:
                parent.append(value)
        return document

    return made()


SETTINGS = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])


@SETTINGS
@given(document=spoilt(read("golden/*.in.yaml")))
def test_an_api(document: JsonObject, definitions: Definitions) -> None:
    with contextlib.suppress(Invalid):
        translate(validate(document, definitions, {}, names=GATEWAY), definitions, EdgeSettings())


@SETTINGS
@given(document=spoilt(read("gateways/golden/*.in.yaml")))
def test_a_gateway(document: JsonObject) -> None:
    with contextlib.suppress(Invalid):
        translate_gateway(validate_gateway(document))


@SETTINGS
@given(document=spoilt(read("golden/*.in.yaml")))
def test_an_api_is_shown_as_yaml_that_says_the_same(document: JsonObject, definitions: Definitions) -> None:
    with contextlib.suppress(Invalid):
        stored = to_document(validate(document, definitions, {}, names=GATEWAY))
        text = api_text(stored)
        assert read_yaml(text.encode()) == yaml.safe_load(text) == stored
        assert to_document(validate(read_yaml(text.encode()), definitions, {}, names=GATEWAY)) == stored


@pytest.mark.slow("a store and an application for each example, and two requests for each document")
@SETTINGS
@given(documents=st.lists(spoilt(read("golden/*.in.yaml")), min_size=1, max_size=4), data=st.data())
def test_a_dry_run_says_what_the_write_says(
    documents: list[JsonObject], data: st.DataObject, definitions: Definitions
) -> None:
    controller = Controller(open_store("sqlite::memory:"), lambda: definitions, EdgeSettings())
    controller.gateways.default = lambda: GATEWAY
    with contextlib.closing(controller.store):
        asyncio.run(tried_and_written(controller, [read("golden/policies.in.yaml")[0], *documents], data))


async def tried_and_written(controller: Controller, documents: list[JsonObject], data: st.DataObject) -> None:
    transport = httpx.ASGITransport(create_app(controller, Gateways(controller.store, controller.deployment, None)))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        for document in documents:
            names = [stored.name for stored in controller.store.list()]
            name = data.draw(st.sampled_from(["", *names, "missing"]))
            method, path = ("PUT", f"/v1/apis/{name}") if name else ("POST", "/v1/apis")
            headers = data.draw(
                st.sampled_from([{}, {"if-match": '"1"'}, {"if-match": f'"{controller.store.revision}"'}])
            )
            before = state(controller)
            tried = await client.request(method, path, params={"dry_run": "true"}, json=document, headers=headers)
            assert state(controller) == before
            done = await client.request(method, path, json=document, headers=headers)
            if done.is_error:
                assert (tried.status_code, tried.json()) == (done.status_code, done.json())
            else:
                same_as_written(tried, done, before[0])


def same_as_written(tried: httpx.Response, done: httpx.Response, revision: int) -> None:
    """revision: the store's before the write."""
    would_be, written = tried.json(), done.json()
    assert (tried.status_code, done.status_code) in ((200, 200), (200, 201))
    change, policies = would_be["status"].pop("change"), would_be["status"].pop("policies")
    assert policies == written["status"].pop("policies")
    kind = (
        "created" if done.status_code == 201 else "changed" if written["status"]["revision"] > revision else "unchanged"
    )
    assert change["kind"] == kind
    assert bool(change["diff"] or change["moved"]) == (kind != "unchanged")
    assert {**would_be, "status": ""} == {**written, "status": ""}


def state(controller: Controller) -> tuple[int, str, str, bytes]:
    """All that a write changes: the store, and the update for a node that has nothing."""
    store, fresh = controller.store, controller.deployment.connect(node_pb2.Hello(node_id="fresh"))
    update = controller.deployment.next_update(fresh).SerializeToString(deterministic=True)
    controller.deployment.disconnect(fresh)
    return store.revision, repr(store.list()), json.dumps(sorted(store.claims().items())), update
