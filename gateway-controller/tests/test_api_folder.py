"""A folder whose files have all APIs: what is served of it, who wins, and that a loser is served once it can be."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
import logging
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest
from gatewright_controller import api_folder
from gatewright_controller.api_folder import ApiFolder
from gatewright_controller.apis.controller import Controller
from gatewright_controller.gateway.gateways import Gateways
from gatewright_controller.kinds import Keyring, Kinds, open_kinds
from gatewright_controller.management.api import create_app
from gatewright_controller.plans import Plans
from gatewright_documents.values import JsonObject

pytestmark = pytest.mark.anyio
Changes = tuple[ApiFolder, Path]


@pytest.fixture
def folder(folder: Path, testdata: Path) -> Path:
    shutil.copy(testdata / "sealed-v1.0.0.yaml", folder)
    return folder


@pytest.fixture
def kinds(controller: Controller) -> Kinds:
    return open_kinds(controller, Keyring("11" * 32))


@pytest.fixture
def open_folder(controller: Controller, gateways: Gateways, kinds: Kinds) -> Callable[[Path], ApiFolder]:
    plans = Plans(controller, gateways, kinds)
    return lambda path: ApiFolder(path, plans, lambda: controller.deployment.secrets.changes)


@pytest.fixture
async def files(tmp_path: Path, open_folder: Callable[[Path], ApiFolder]) -> Changes:
    """A folder without files."""
    path = tmp_path / "apis"
    path.mkdir()
    return open_folder(path), path


@pytest.fixture
def write(files: Changes, orders: JsonObject) -> Callable[..., None]:
    """Writes an API into a file."""

    def write_api(file: str, name: str, context: str, **spec: object) -> None:
        document = copy.deepcopy(orders)
        document["metadata"]["name"] = name
        document["spec"] |= {"context": context, **spec}
        (files[1] / file).write_text(json.dumps(document))

    return write_api


async def served(folder: ApiFolder, controller: Controller) -> dict[str, str]:
    """Contexts by API, once the folder is applied."""
    await folder.apply()
    return {stored.name: stored.context for stored in await controller.list()}


def states(folder: ApiFolder) -> list[tuple[str, str, str, str]]:
    return [(status.place, status.api, status.state, status.winner) for status in folder.documents]


async def test_what_is_saved_is_served_and_what_is_deleted_goes(
    files: Changes, write: Callable[..., None], controller: Controller, orders: JsonObject
) -> None:
    folder, path = files
    await controller.create(orders)
    write("a.json", "a", "/a")
    write("b.json", "b", "/b")
    assert await served(folder, controller) == {"a": "/a", "b": "/b"}
    (path / "a.json").unlink()
    write("b.json", "b", "/b2")
    assert await served(folder, controller) == {"b": "/b2"}
    entry = controller.store.history("Api", "a")[0]
    assert (entry.action, entry.author.actor, entry.author.origin) == ("deleted", "file", str(path))
    before = controller.store.revision
    await served(folder, controller)
    assert controller.store.revision == before, "a second look changes nothing"


async def test_the_api_that_has_a_context_keeps_it_and_the_loser_is_served_once_it_is_gone(
    files: Changes, write: Callable[..., None], controller: Controller
) -> None:
    folder, path = files
    write("z.json", "first", "/shop")
    await served(folder, controller)
    write("a.json", "second", "/shop")
    assert await served(folder, controller) == {"first": "/shop"}
    assert states(folder) == [("a.json", "second", "notServed", "first"), ("z.json", "first", "served", "")]
    reason = folder.documents[0].reason
    assert reason.startswith("the context '/shop' is first's, which had it first, since 20")
    assert "second is served once first is gone or has moved" in reason
    (path / "z.json").unlink()
    assert await served(folder, controller) == {"second": "/shop"}
    assert states(folder) == [("a.json", "second", "served", "")]


async def test_a_loser_is_served_once_the_winner_has_moved(
    files: Changes, write: Callable[..., None], controller: Controller
) -> None:
    folder, _ = files
    write("a.json", "a", "/shop", hosts=["shop.example"])
    write("b.json", "b", "/shop", hosts=["shop.example", "other.example"])
    assert await served(folder, controller) == {"a": "/shop"}
    assert "on the host 'shop.example' is a's, which stands first in the order of files" in folder.documents[1].reason
    write("a.json", "a", "/other", hosts=["shop.example"])
    assert await served(folder, controller) == {"a": "/other", "b": "/shop"}


async def test_a_served_api_that_moves_onto_another_stays_where_it_is(
    files: Changes, write: Callable[..., None], controller: Controller
) -> None:
    folder, path = files
    write("a.json", "a", "/a")
    write("b.json", "b", "/b")
    await served(folder, controller)
    write("a.json", "a", "/b")
    write("c.json", "c", "/a")
    assert await served(folder, controller) == {"a": "/a", "b": "/b"}
    assert states(folder) == [
        ("a.json", "a", "kept", "b"),
        ("b.json", "b", "served", ""),
        ("c.json", "c", "notServed", "a"),
    ]
    (path / "b.json").unlink()
    assert await served(folder, controller) == {"a": "/b", "c": "/a"}


async def test_two_files_of_one_name_are_one_api_and_the_second_is_served_once_the_first_is_gone(
    files: Changes, write: Callable[..., None], controller: Controller
) -> None:
    folder, path = files
    write("b.json", "a", "/b")
    await served(folder, controller)
    write("a.json", "a", "/a")
    assert await served(folder, controller) == {"a": "/b"}, "the file that has it"
    assert states(folder) == [("a.json", "a", "notServed", "b.json"), ("b.json", "a", "served", "")]
    write("b.json", "a", "/b2")
    assert await served(folder, controller) == {"a": "/b2"}, "it keeps it when it changes"
    (path / "b.json").unlink()
    assert await served(folder, controller) == {"a": "/a"}


async def test_after_a_start_the_file_that_says_what_is_stored_has_the_name(
    files: Changes, write: Callable[..., None], controller: Controller, open_folder: Callable[[Path], ApiFolder]
) -> None:
    folder, path = files
    write("b.json", "a", "/b")
    await served(folder, controller)
    write("a.json", "a", "/a")
    assert await served(open_folder(path), controller) == {"a": "/b"}


async def test_a_wrong_file_keeps_what_it_was_and_nothing_goes_while_its_name_is_unknown(
    files: Changes, write: Callable[..., None], controller: Controller
) -> None:
    folder, path = files
    write("a.json", "a", "/a")
    write("b.json", "b", "/b")
    await served(folder, controller)
    write("a.json", "a", "no path")
    assert await served(folder, controller) == {"a": "/a", "b": "/b"}
    assert states(folder)[0] == ("a.json", "a", "kept", "")
    assert folder.documents[0].reason.startswith("a.json:1: spec.context: expected")
    (path / "a.json").write_text("{")
    (path / "b.json").unlink()
    assert await served(folder, controller) == {"a": "/a", "b": "/b"}
    assert folder.trouble == "nothing is deleted while a file has no name that can be read"
    write("a.json", "a", "/a2")
    assert await served(folder, controller) == {"a": "/a2"}
    assert folder.trouble == ""


async def test_an_empty_or_missing_folder_deletes_nothing(
    files: Changes, write: Callable[..., None], controller: Controller
) -> None:
    folder, path = files
    write("a.json", "a", "/a")
    await served(folder, controller)
    (path / "a.json").unlink()
    assert await served(folder, controller) == {"a": "/a"}
    assert "has no API; what is served stays" in folder.trouble
    path.rmdir()
    assert await served(folder, controller) == {"a": "/a"}
    assert "cannot be read (" in folder.trouble


async def test_several_documents_of_a_file_have_their_lines(
    files: Changes, controller: Controller, orders: JsonObject
) -> None:
    folder, path = files
    other = json.dumps(orders | {"metadata": {"name": "other"}})
    gateway = json.dumps({"apiVersion": "gatewright.dev/v1", "kind": "Gateway"})
    (path / "all.yaml").write_text(f"---\n{json.dumps(orders)}\n---\n# the other\n{other}\n---\n{gateway}\n")
    await served(folder, controller)
    assert states(folder) == [
        ("all.yaml:1", "orders-v1", "served", ""),
        ("all.yaml:3", "other", "notServed", "orders-v1"),
        ("all.yaml:6", "", "notServed", ""),
    ]
    assert "all.yaml:7: kind: expected 'Api', 'Defaults' or 'Namespace', got 'Gateway'" in folder.documents[2].reason


async def test_each_refusal_is_logged_once(
    files: Changes, write: Callable[..., None], controller: Controller, caplog: pytest.LogCaptureFixture
) -> None:
    folder, path = files
    write("a.json", "a", "/shop")
    write("b.json", "b", "/shop")
    with caplog.at_level(logging.INFO, api_folder.__name__):
        for _ in range(3):
            await served(folder, controller)
        (path / "a.json").unlink()
        await served(folder, controller)
    lines = [(record.getMessage(), record.__dict__.get("file")) for record in caplog.records]
    assert lines == [("API file not served", "b.json"), ("API file served", "b.json")]


async def test_it_follows_the_files(
    files: Changes, write: Callable[..., None], controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_folder, "LOOK_SECONDS", 0.01)
    folder, path = files
    async with running(folder):
        write("a.json", "a", "/a")
        write("b.json", "b", "/b")
        await until_stored(controller, "a", "b")
        (path / "a.json").unlink()
        await until_stored(controller, "b")


async def test_a_file_that_names_a_secret_is_served_once_there_is_one(
    files: Changes, write: Callable[..., None], controller: Controller, kinds: Kinds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_folder, "LOOK_SECONDS", 0.01)
    folder, _ = files
    write(
        "a.json", "a", "/a", policies=[{"name": "sealed", "version": "v1", "params": {"key": {"secretRef": "pay/key"}}}]
    )
    async with running(folder):
        async with asyncio.timeout(30):
            while not folder.documents:
                await asyncio.sleep(0.01)
        assert folder.documents[0].state == "notServed"
        assert "expected a Secret 'pay', got none" in folder.documents[0].reason
        await kinds["Secret"].put(
            {
                "apiVersion": "gatewright.dev/v1",
                "kind": "Secret",
                "metadata": {"name": "pay"},
                "spec": {"values": {"key": "value"}},
            }
        )
        await until_stored(controller, "a")


@contextlib.asynccontextmanager
async def running(folder: ApiFolder) -> AsyncIterator[None]:
    following = asyncio.create_task(folder.run())
    yield
    following.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await following


async def until_stored(controller: Controller, *names: str) -> None:
    async with asyncio.timeout(30):
        while [stored.name for stored in await controller.list()] != [*names]:
            await asyncio.sleep(0.01)


async def test_the_management_api_takes_no_writes_beside_it(
    files: Changes, write: Callable[..., None], controller: Controller, gateways: Gateways, orders: JsonObject
) -> None:
    folder, path = files
    write("orders.json", "orders-v1", "/orders/$version")
    write("zlate.json", "late", "/orders/$version")
    put(path, "Namespace", "shop", labels={"team": "shop"}, contexts=["/shop"])
    await folder.apply()
    transport = httpx.ASGITransport(create_app(controller, gateways, folder=folder), client=("127.0.0.1", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        source = {"file": "a.json", "text": json.dumps(orders)}
        refused = [
            await client.post("/v1/apis", json=orders),
            await client.put("/v1/apis/orders-v1", json=orders),
            await client.delete("/v1/apis/late"),
            await client.post("/v1/apis/orders-v1/rollback", json={"revision": 1}),
            await client.post("/v1/apply", json={"sources": [source]}),
            await client.post("/v1/policies/reload", json={"apis": [source]}),
            await client.put("/v1/defaults/slow", json={}),
            await client.delete("/v1/namespaces/shop"),
        ]
        assert [answer.status_code for answer in refused] == [409] * 8
        others = f"this controller takes its Defaults and Namespaces from the files of {path} alone; "
        assert refused[6].json()["detail"].startswith(f"{others}add, change or delete a file there")
        assert refused[7].json()["detail"].startswith(f"{others}shop is in Namespace-shop.json there: change that file")
        sentence = f"this controller takes its APIs from the files of {path} alone; "
        assert refused[1].json()["detail"].startswith(f"{sentence}orders-v1 is in orders.json there: change that file")
        assert refused[2].json()["detail"].startswith(f"{sentence}late is in zlate.json there")
        assert refused[0].json()["detail"].startswith(f"{sentence}add, change or delete a file there")
        assert refused[4].json()["detail"] == (
            f"{sentence}orders-v1 is in orders.json there: change that file, and it is applied within seconds; "
            "nothing of the set was changed"
        )
        taken = [
            await client.put("/v1/apis/orders-v1", json=orders, params={"dry_run": "true"}),
            await client.post("/v1/plan", json={"sources": [source]}),
            await client.post("/v1/policies/reload"),
        ]
        assert [answer.status_code for answer in taken] == [200] * 3
        shown = (await client.get("/v1/files")).json()
        assert (shown["folder"], shown["trouble"]) == (str(path), "")
        assert [(file["file"], file["state"], file.get("winner")) for file in shown["files"]] == [
            ("Namespace-shop.json", "served", None),
            ("orders.json", "served", None),
            ("zlate.json", "notServed", "orders-v1"),
        ]


async def test_sets_of_other_kinds_are_applied_and_pruned_beside_it(
    files: Changes, controller: Controller, gateways: Gateways, orders: JsonObject
) -> None:
    folder, path = files
    (path / "orders.json").write_text(json.dumps(orders))
    put(path, "Namespace", "shop", labels={"team": "shop"}, contexts=["/shop"])

    def client_of(of: ApiFolder | None) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(create_app(controller, gateways, folder=of), client=("127.0.0.1", 1))
        return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1")

    async with client_of(None) as before, client_of(folder) as client:

        async def apply(*documents: JsonObject, by: httpx.AsyncClient = client) -> httpx.Response:
            sources = [{"file": "set.json", "text": json.dumps(document)} for document in documents]
            return await by.post("/v1/apply", json={"sources": sources, "owner": "team-a", "prune": True})

        assert (await apply(orders, by=before)).status_code == 200, "an API with the owner of the sets"
        await folder.apply()
        plan = resource("Plan", "gold", limits=[{"requests": 1, "per": "1s"}])
        assert (await apply(plan, resource("Consumer", "acme", plan="gold"))).status_code == 200
        refused = await apply(plan, resource("Namespace", "shop", labels={"team": "shop"}, contexts=["/shop"]))
        detail = refused.json()["detail"]
        assert (refused.status_code, "shop is in Namespace-shop.json there: change that file" in detail) == (409, True)
        assert (await client.get("/v1/consumers/acme")).status_code == 200, "nothing of a refused set is done"
        pruned = (await apply(plan)).json()["changes"]
        assert [(change["action"], change["name"]) for change in pruned] == [("delete", "acme")]
        assert (await client.get("/v1/apis/orders-v1")).status_code == 200, "files alone say which APIs there are"


def resource(kind: str, name: str, **spec: object) -> JsonObject:
    return {"apiVersion": "gatewright.dev/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def put(path: Path, kind: str, name: str, **spec: object) -> None:
    """Writes another document into a file of its own."""
    (path / f"{kind}-{name}.json").write_text(json.dumps(resource(kind, name, **spec)))


SLOW = {"for": {"labels": {"team": "shop"}}, "requestTimeout": "10s"}


async def test_defaults_and_namespaces_of_the_folder_take_effect_and_go_with_their_files(
    files: Changes, orders: JsonObject, controller: Controller, kinds: Kinds
) -> None:
    folder, path = files
    document = copy.deepcopy(orders)
    document["metadata"]["labels"] = {"team": "shop"}
    (path / "a.json").write_text(json.dumps(document))
    put(path, "Defaults", "shop", **SLOW)
    put(path, "Namespace", "shop", labels={"team": "shop"}, contexts=["/orders"])
    await folder.apply()
    assert {(status.kind, status.api, status.state) for status in folder.documents} == {
        ("Api", "orders-v1", "served"), ("Defaults", "shop", "served"), ("Namespace", "shop", "served"),
    }  # fmt: skip
    (stored,) = await controller.list()
    assert controller.whole(stored.api, stored.versions).spec.request_timeout == "10s"
    assert controller.namespaces.keys() == {"shop"}
    revision = controller.store.revision
    await folder.apply()
    assert controller.store.revision == revision, "a second look changes nothing"

    put(path, "Defaults", "shop", **{**SLOW, "requestTimeout": "20s"})
    await folder.apply()
    assert controller.whole(stored.api, stored.versions).spec.request_timeout == "20s"
    (path / "Defaults-shop.json").unlink()
    (path / "Namespace-shop.json").unlink()
    await folder.apply()
    assert (controller.defaults, controller.namespaces) == ({}, {})
    assert [kinds[kind].list_stored() for kind in ("Defaults", "Namespace")] == [[], []]
    entry = controller.store.history("Defaults", "shop")[0]
    assert (entry.action, entry.author.actor) == ("deleted", "file")


async def test_defaults_and_namespaces_that_do_not_fit_are_left_out_and_the_others_count(
    files: Changes, write: Callable[..., None], controller: Controller
) -> None:
    folder, path = files
    write("a.json", "a", "/a")
    put(path, "Defaults", "good", requestTimeout="10s")
    await folder.apply()
    put(path, "Defaults", "good", requestTimeout="never")
    put(path, "Defaults", "unknown", policies={"before": [{"name": "no-such-policy", "version": "v1"}]})
    put(path, "Namespace", "foreign", labels={"team": "other"}, contexts=["/a"])
    put(path, "Namespace", "free", labels={"team": "other"}, contexts=["/b"])
    write("b.json", "b", "/b")
    assert await served(folder, controller) == {"a": "/a"}
    reasons = {f"{status.kind} {status.api}": (status.state, status.reason) for status in folder.documents}
    assert reasons["Defaults good"][0] == "kept"
    assert "spec.requestTimeout: expected" in reasons["Defaults good"][1]
    assert reasons["Defaults unknown"][0] == reasons["Namespace foreign"][0] == "notServed"
    assert "API a: spec.context: expected the labels team=other" in reasons["Namespace foreign"][1]
    assert reasons["Namespace free"] == ("served", "")
    assert reasons["Api b"][0] == "notServed"
    assert "which the Namespace free wants" in reasons["Api b"][1]
    assert controller.defaults.keys() == {"good"}

    (path / "again.json").write_text((path / "Namespace-free.json").read_text())
    (path / "Namespace-free.json").unlink()
    (path / "unnamed.json").write_text("{}")
    await folder.apply()
    assert controller.namespaces.keys() == {"free"}, "it is in another file"
    (path / "again.json").unlink()
    await folder.apply()
    assert controller.namespaces.keys() == {"free"}, "nothing goes while a file has no name"
    (path / "unnamed.json").unlink()
    await folder.apply()
    assert controller.namespaces.keys() == set()


async def test_without_a_folder_the_list_of_files_is_empty(client: httpx.AsyncClient) -> None:
    assert (await client.get("/v1/files")).json() == {"folder": "", "trouble": "", "files": []}


async def test_of_two_apis_with_one_name_of_attached_routes_the_first_wins_until_it_goes(
    files: Changes, orders: JsonObject
) -> None:
    folder, path = files
    for name in ("a", "b"):
        document = attached(orders, name, f"/{name}", "shop", name)
        (path / f"{name}.json").write_text(json.dumps(document))
    (path / "c.json").write_text(json.dumps(attached(orders, "c", "/a", "other")))
    await folder.apply()
    assert states(folder) == [
        ("a.json", "a", "served", ""),
        ("b.json", "b", "notServed", "a"),
        ("c.json", "c", "served", ""),
    ]
    assert folder.documents[1].reason == (
        "the name 'shop' is a's, which stands first in the order of files; "
        "b is served once a is gone or has moved, or give one of the two other names"
    )
    (path / "a.json").unlink()
    await folder.apply()
    assert states(folder) == [("b.json", "b", "served", ""), ("c.json", "c", "served", "")]


async def test_a_name_of_attached_routes_is_one_apis(client: httpx.AsyncClient, orders: JsonObject) -> None:
    """A context is not: this gateway does not serve it."""
    first = attached(orders, "first", "/orders/$version", "shop", "cart/*")
    assert (await client.post("/v1/apis", json=first)).status_code == 201
    assert (await client.post("/v1/apis", json=orders)).status_code == 201, "it has the context"
    second = attached(orders, "second", "/second", "other", "cart/*")
    refused = await client.post("/v1/apis", json=second)
    (error,) = refused.json()["errors"]
    assert (refused.status_code, error["field"]) == (422, "spec.attachTo")
    assert error["message"] == "expected names that no other API has, got 'cart/*', which is first's"
    source = {"file": "second.json", "text": json.dumps(second)}
    (error,) = (await client.post("/v1/plan", json={"sources": [source]})).json()["errors"]
    assert error["field"] == "second.json:1: spec.attachTo"
    assert "got 'cart/*', which first has, written " in error["message"]
    assert error["message"].endswith("choose another name, or take it from first, or delete that, first")
    assert (await client.delete("/v1/apis/first")).status_code == 204
    planned = (await client.post("/v1/plan", json={"sources": [source]})).json()
    assert planned["changes"][0]["effects"][:2] == [
        "requests of the route cart/* of an attached Envoy are served by second, got 503",
        "requests of the route other of an attached Envoy are served by second, got 503",
    ]
    assert (await client.post("/v1/apis", json=second)).status_code == 201


def attached(orders: JsonObject, name: str, context: str, *names: str) -> JsonObject:
    """An API that routes of another Envoy name so."""
    document = copy.deepcopy(orders)
    document["metadata"]["name"] = name
    document["spec"] = {
        "version": "v1.0", "context": context, "attachTo": [*names], "operations": [{"method": "GET", "path": "/*"}],
    }  # fmt: skip
    return document
