"""Dry runs show what a write would do: they are accepted and refused as the write is, and change nothing."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from gatewright_controller.apis.api_change import MOST_LINES, unified
from gatewright_controller.apis.controller import Controller
from gatewright_controller.gateway.gateways import Gateways
from gatewright_controller.management.api import create_app
from gatewright_controller.resource.definitions import Definitions, definitions_of
from gatewright_controller.store import open_store
from gatewright_controller.translate import EdgeSettings
from gatewright_documents.values import JsonObject
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]
SETTINGS = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
KEYED = b"""
name: keyed
version: v1.0.0
runtime: go
processingMode: {requestHeaderMode: PROCESS}
parameters:
  type: object
  properties:
    user: {type: string}
    password: {writeOnly: true}
    keys: {type: array, items: {type: object, properties: {id: {type: string}, key: {format: password}}}}
"""


async def test_what_would_be_created_is_shown(client: httpx.AsyncClient, orders: JsonObject) -> None:
    tried = await client.post("/v1/apis?dry_run=true", json=orders)
    assert tried.status_code == 200
    assert "location" not in tried.headers
    answer = tried.json()
    status = answer.pop("status")
    assert [policy["version"] for policy in status["policies"]] == ["v1.0.0", "v1.0.0"]
    change = status["change"]
    assert (change["kind"], change["revision"], change["moved"]) == ("created", None, [])
    assert change["diff"].startswith("--- /dev/null\n+++ orders-v1\n@@ -0,0 +1,")
    assert "\n+metadata:\n+  name: orders-v1\n+spec:\n+  version: v1.0\n" in change["diff"]
    assert (await client.get("/v1/apis")).json() == {"apis": []}
    written = (await client.post("/v1/apis", json=orders)).json()
    del written["status"]
    assert answer == written
    again = await client.post("/v1/apis?dry_run=true", json=orders)
    assert again.status_code == 409


async def test_what_would_be_changed_is_shown(
    client: httpx.AsyncClient, rewritten: Callable[..., None], orders: JsonObject
) -> None:
    """The newer version of an attachment is listed as moved: it is no line of the document."""
    revision = (await client.post("/v1/apis", json=orders)).json()["status"]["revision"]
    tried = await client.put("/v1/apis/orders-v1?dry_run=true", json=orders)
    assert tried.json()["status"]["change"] == {"kind": "unchanged", "revision": revision, "moved": [], "diff": ""}
    rewritten("v1.0.0", "v1.1.0", keep=True)
    await client.post("/v1/policies/reload")
    change = (await client.put("/v1/apis/orders-v1?dry_run=true", json=orders)).json()["status"]["change"]
    moved = {"api": "orders-v1", "field": "spec.policies[0]", "policy": "log-message"}
    assert change["moved"] == [{**moved, "before": "v1.0.0", "after": "v1.1.0"}]
    assert (change["kind"], change["diff"]) == ("changed", "")

    orders["spec"]["policies"].insert(0, {"name": "rewrite-body", "version": "v1.0.0"})
    orders["spec"]["operations"][0]["path"] = "/{key}"
    change = (await client.put("/v1/apis/orders-v1?dry_run=true", json=orders)).json()["status"]["change"]
    assert [(move["field"], move["after"]) for move in change["moved"]] == [("spec.policies[1]", "v1.1.0")]
    lines = change["diff"].splitlines()
    assert lines[:2] == [f"--- orders-v1 of revision {revision}", "+++ orders-v1"]
    changed = [line for line in lines[2:] if line[0] in "+-"]
    assert changed == [
        "+    - name: rewrite-body",
        "+      version: v1.0.0",
        "-      path: /{id}",
        "+      path: /{key}",
    ]


async def test_mistakes_of_a_dry_run_have_their_lines(client: httpx.AsyncClient) -> None:
    text = "apiVersion: gatewright.dev/v1\nkind: Api\nmetadata: {name: a}\nspec:\n  version: 1\n"
    answers = [
        await client.post(f"/v1/apis{query}", content=text, headers={"content-type": "application/yaml"})
        for query in ("?dry_run=true", "")
    ]
    assert answers[0].json() == answers[1].json()
    assert {"field": "spec.version", "line": 5} in [
        {"field": mistake["field"], "line": mistake["line"]} for mistake in answers[0].json()["errors"]
    ]
    assert (await client.post("/v1/apis?dry_run=1", content=text)).status_code == 400


async def test_a_dry_run_asks_no_node(client: httpx.AsyncClient, orders: JsonObject) -> None:
    """No node is connected; a write would wait for one."""
    async with asyncio.timeout(60):
        assert (await client.post("/v1/apis?dry_run=true&wait=300", json=orders)).status_code == 200


SECRET = st.sampled_from(["s3cret-1", "s3cret-2", 73317331, ["s3cret-1"], {"a": "s3cret-2"}, True, 1])
PARAMS = st.fixed_dictionaries(
    {},
    optional={
        "user": st.sampled_from(["u", "v"]),
        "password": SECRET,
        "keys": st.lists(
            st.fixed_dictionaries({"key": SECRET}, optional={"id": st.sampled_from(["a", "b"])}), max_size=4
        ),
    },
)
ATTACHED = st.lists(PARAMS, max_size=3)


@SETTINGS
@given(first=st.tuples(ATTACHED, ATTACHED), then=st.tuples(ATTACHED, ATTACHED))
def test_the_change_of_a_secret_is_reported_and_never_its_value(first: Any, then: Any) -> None:
    asyncio.run(write_and_try(with_params(*first), with_params(*then)))


def with_params(*levels: list[JsonObject]) -> JsonObject:
    own, operation = ([{"name": "keyed", "version": "v1", "params": params} for params in level] for level in levels)
    spec: JsonObject = {"version": "v1", "context": "/k", "upstream": {"main": {"url": "http://k.internal"}}}
    spec |= {"policies": own, "operations": [{"method": "GET", "path": "/", "policies": operation}]}
    return {"apiVersion": "gatewright.dev/v1", "kind": "Api", "metadata": {"name": "k"}, "spec": spec}


async def write_and_try(first: JsonObject, then: JsonObject) -> None:
    async with keyed_client() as (client, controller):
        answers = [await client.post("/v1/apis?dry_run=true", json=first)]
        written = (await client.post("/v1/apis", json=first)).json()
        text = (await client.get("/v1/apis/k", headers={"accept": "application/yaml"})).text
        headers = {"content-type": "application/yaml"}
        before = repr(controller.store.get("k"))
        same = await client.put("/v1/apis/k", content=text, headers=headers)
        assert same.status_code == 200, same.text
        assert repr(controller.store.get("k")) == before, "what is shown stands for what is stored"
        tried = await client.put("/v1/apis/k?dry_run=true", json=then)
        done = (await client.put("/v1/apis/k", json=then)).json()
        change = tried.json()["status"]["change"]
        differs = done["status"]["revision"] != written["status"]["revision"]
        assert (change["kind"], bool(change["diff"])) == ("changed" if differs else "unchanged", differs)
        for shown in (*(answer.text for answer in answers), text, tried.text):
            assert "s3cret" not in shown
            assert "73317331" not in shown


@asynccontextmanager
async def keyed_client() -> AsyncIterator[tuple[httpx.AsyncClient, Controller]]:
    definitions: Definitions = definitions_of({"keyed.yaml": KEYED})
    controller = Controller(open_store("sqlite::memory:"), lambda: definitions, EdgeSettings())
    transport = httpx.ASGITransport(create_app(controller, Gateways(controller.store, controller.deployment, None)))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        yield client, controller
    controller.store.close()


async def test_a_secret_that_changes_has_a_comment_behind_its_mask() -> None:
    keys = [{"id": "a", "key": "s3cret-a"}, {"id": "b", "key": "s3cret-b"}]
    async with keyed_client() as (client, _):
        await client.post("/v1/apis", json=with_params([{"password": "s3cret-p", "keys": keys}], []))
        changed = copy.deepcopy(keys)
        changed[1]["key"] = "s3cret-c"
        document = with_params([{"password": "s3cret-p", "keys": changed}], [{"password": "s3cret-p"}])
        diff = (await client.put("/v1/apis/k?dry_run=true", json=document)).json()["status"]["change"]["diff"]
    assert [line for line in diff.splitlines()[2:] if line[0] in "+-"] == [
        '-            key: "********"',
        '+            key: "********"  # a new value',
        "+      policies:",
        "+        - name: keyed",
        "+          version: v1",
        "+          params:",
        '+            password: "********"  # a new value',
    ]


LINES = st.lists(st.sampled_from("abcde"), max_size=30)


@given(before=LINES, after=LINES, scale=st.sampled_from([1, MOST_LINES]))
@settings(max_examples=50, deadline=None)
def test_a_diff_leads_from_one_text_to_the_other(before: list[str], after: list[str], scale: int) -> None:
    """scale: so many of some lines that all between what is alike at both ends is replaced."""
    old, new = (
        [f"{line}{side}" for line in lines for side in ([""] if scale == 1 else [kind])]
        for lines, kind in ((before, "-"), (after, "+"))
    )
    around = ["begin"] * 5, ["end"] * 5
    if scale > 1:
        old, new = old * scale, new * scale
    old, new = [*around[0], *old, *around[1]], [*around[0], *new, *around[1]]
    diff = unified("".join(f"{line}\n" for line in old), "".join(f"{line}\n" for line in new), "a", "b")
    assert patched(old, diff.splitlines()) == new
    assert (diff == "") == (old == new)


def patched(lines: list[str], diff: list[str]) -> list[str]:
    """The text that `patch` makes of the lines."""
    made, at = [], 0
    for line in diff[2:]:
        if line.startswith("@@"):
            start, _, count = line.split()[1][1:].partition(",")
            begin = int(start) - (0 if count == "0" else 1)
            made += lines[at:begin]
            at = begin
        elif line[0] == "+":
            made.append(line[1:])
        else:
            assert lines[at] == line[1:], "a line that is taken away or kept is there"
            made += [] if line[0] == "-" else [line[1:]]
            at += 1
    return made + lines[at:]
