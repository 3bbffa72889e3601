"""Secrets by the management API: what is written, and that no answer, row or line has a value of it."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import httpx
import psycopg
import pytest
from gatewright_controller.apis.controller import Controller
from gatewright_controller.kinds import Keyring, Kinds, open_kinds
from gatewright_controller.nodes.node import Node
from gatewright_controller.resource.definitions import load_definitions
from gatewright_controller.store import open_store
from gatewright_controller.translate import EdgeSettings
from gatewright_documents.secret_masks import MASK
from gatewright_documents.values import JsonObject

from .test_tokens import create

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]
PLANTED = "planted-value-of-a-secret"
CHANGED = "planted-value-that-came-later"
PAY = "/v1/secrets/pay"


@pytest.fixture
def folder(folder: Path, testdata: Path) -> Path:
    shutil.copy(testdata / "sealed-v1.0.0.yaml", folder)
    return folder


def secret(name: str = "pay", labels: dict[str, str] | None = None, **values: str) -> JsonObject:
    return {
        "apiVersion": "gatewright.dev/v1",
        "kind": "Secret",
        "metadata": {"name": name, **({"labels": labels} if labels else {})},
        "spec": {"values": values or {"key": PLANTED}},
    }


def naming(orders: JsonObject, reference: str = "pay/key", name: str = "orders-v1", **labels: str) -> JsonObject:
    document = copy.deepcopy(orders)
    document["metadata"] = {"name": name, "labels": labels}
    document["spec"]["context"] = f"/{name}"
    document["spec"]["policies"] = [{"name": "sealed", "version": "v1", "params": {"key": {"secretRef": reference}}}]
    return document


async def put(client: httpx.AsyncClient, document: JsonObject, **request: object) -> httpx.Response:
    name = document["metadata"]["name"]
    return await client.put(f"/v1/secrets/{name}", json=document, **request)  # type: ignore[arg-type]


def source(document: JsonObject) -> JsonObject:
    return {"file": f"{document['metadata']['name']}.json", "text": json.dumps(document)}


def fields(answer: httpx.Response) -> list[str]:
    return [f"{error['field']}: {error['message']}" for error in answer.json()["errors"]]


async def test_a_value_is_written_and_its_mask_stands_for_it(client: httpx.AsyncClient) -> None:
    created = await put(client, secret())
    assert (created.status_code, created.headers["location"]) == (201, PAY)
    assert created.json()["spec"] == {"values": {"key": MASK}}
    assert created.json()["status"]["state"] == "readable"
    revision = created.json()["status"]["revision"]
    for same in (secret(), secret(key=MASK)):
        again = await put(client, same)
        assert (again.status_code, again.json()["status"]["revision"]) == (200, revision)
    tried = await put(client, secret(key=CHANGED, other=PLANTED), params={"dry_run": "true"})
    change = tried.json()["status"]["change"]
    assert change["kind"] == "changed"
    assert '+    key: "********"  # a new value' in change["diff"]
    assert '+    other: "********"  # a new value' in change["diff"]
    changed = await put(client, secret(key=MASK, other=CHANGED), headers={"if-match": f'"{revision}"'})
    assert changed.json()["status"]["revision"] > revision
    stale = await put(client, secret(key="x"), headers={"if-match": f'"{revision}"'})
    assert stale.status_code == 412


async def test_what_cannot_be_written_says_why_and_shows_no_value(client: httpx.AsyncClient) -> None:
    refused = await put(client, secret(key=PLANTED, other=MASK))
    assert fields(refused) == [
        "spec.values.other: expected the value itself, got ********, its mask, and none is stored at this place; "
        "write the value"
    ]
    for values in ({"key": 4711471147}, {"key": ""}, {"key": [PLANTED]}, {"Key": PLANTED}, {}, PLANTED):
        document = {**secret(), "spec": {"values": values}}
        answer = await put(client, document)
        assert answer.status_code == 422
        assert PLANTED not in answer.text
        assert "4711471147" not in answer.text
    text = "apiVersion: gatewright.dev/v1\nkind: Secret\nmetadata: {name: pay}\nspec: {values: {key: !planted 4711}}\n"
    headers = {"content-type": "application/yaml"}
    answer = await client.put(PAY, content=text, headers=headers)
    assert (answer.status_code, "4711" in answer.text) == (400, False)
    answer = await client.post("/v1/apply", json={"sources": [{"file": "a.yaml", "text": text}]})
    assert (answer.status_code, "4711" in answer.text) == (422, False)


async def test_without_a_key_no_secret_is_written_and_all_else_works(
    client: httpx.AsyncClient, kinds: Kinds, orders: JsonObject
) -> None:
    await put(client, secret())
    kinds.secrets.keyring = Keyring()
    refused = await put(client, secret(key=CHANGED))
    (mistake,) = fields(refused)
    assert mistake.startswith(
        "spec.values.key: expected a controller with a key that encrypts Secrets, got one without"
    )
    assert "--secret-key-file" in mistake
    shown = (await client.get(PAY)).json()
    assert shown["status"]["state"] == "unreadable"
    assert "expected the key" in shown["status"]["reason"]
    labelled = secret(labels={"team": "a"}, key=MASK)
    assert (await put(client, labelled)).status_code == 200
    assert (await client.post("/v1/apis", json=orders)).status_code == 201


async def test_an_api_names_a_secret_that_is_there(client: httpx.AsyncClient, orders: JsonObject) -> None:
    refused = await client.post("/v1/apis", json=naming(orders))
    assert fields(refused) == [
        "spec.policies[0].params.key.secretRef: expected a Secret 'pay', got none; write it first: "
        "`gatewright secret set pay key=@FILE`, or apply both together"
    ]
    await put(client, secret())
    assert "a key 'x' in the Secret 'pay'" in fields(await client.post("/v1/apis", json=naming(orders, "pay/x")))[0]
    assert (await client.post("/v1/apis", json=naming(orders))).status_code == 201
    assert (await client.get(PAY)).json()["status"]["usedBy"] == ["orders-v1"]
    expected = "the key key of pay, which the API orders-v1 names"
    assert expected in fields(await client.delete(PAY))[0]
    assert expected in fields(await put(client, secret(other=PLANTED)))[0]
    shown = (await client.get("/v1/apis/orders-v1")).json()
    assert shown["spec"]["policies"][0]["params"] == {"key": {"secretRef": "pay/key"}}
    await client.delete("/v1/apis/orders-v1")
    assert (await client.delete(PAY)).status_code == 204
    assert (await client.get(PAY)).status_code == 404
    assert (await client.delete(PAY)).status_code == 404
    back = await client.post("/v1/apis/orders-v1/rollback", json={"revision": -1})
    assert back.status_code == 422
    assert (await client.post(f"{PAY}/rollback", json={"revision": -1})).status_code == 200
    assert (await client.post("/v1/apis/orders-v1/rollback", json={"revision": -1})).status_code == 200


async def test_history_and_rollback(client: httpx.AsyncClient, orders: JsonObject) -> None:
    await put(client, secret())
    await put(client, secret(key=CHANGED, other="x-value"), params={"reason": "rotated", "owner": "team-a"})
    revisions = (await client.get(f"{PAY}/revisions")).json()["revisions"]
    assert [entry["action"] for entry in revisions] == ["changed", "created"]
    assert (revisions[0]["reason"], revisions[0]["owner"]) == ("rotated", "team-a")
    diff = (await client.get(f"{PAY}/diff")).json()["diff"]
    assert "# a new value" in diff
    past = await client.get(f"{PAY}/revisions/{revisions[1]['revision']}")
    assert past.json()["spec"] == {"values": {"key": MASK}}
    await client.post("/v1/apis", json=naming(orders, "pay/other"))
    refused = await client.post(f"{PAY}/rollback", json={"revision": -1})
    assert "the key other of pay" in fields(refused)[0]
    await client.delete("/v1/apis/orders-v1")
    back = await client.post(f"{PAY}/rollback", json={"revision": -1})
    assert back.status_code == 200
    same = await put(client, secret())
    assert same.json()["status"]["revision"] == back.json()["status"]["revision"]
    assert (await client.get(f"{PAY}/diff?from=-2&to=0")).json()["diff"] == ""
    yaml = await client.get(PAY, headers={"accept": "application/yaml"})
    assert 'key: "********"' in yaml.text
    assert (await client.get("/v1/secrets/none/revisions")).status_code == 404


async def test_a_set_is_applied_with_its_secrets_and_twice_is_nothing(
    client: httpx.AsyncClient, orders: JsonObject
) -> None:
    both = {"sources": [source(naming(orders)), source(secret())], "owner": "team-a", "prune": True}
    plan = (await client.post("/v1/plan", json=both)).json()
    assert [(change["action"], change["kind"]) for change in plan["changes"]] == [("add", "Secret"), ("add", "Api")]
    applied = await client.post("/v1/apply", json={**both, "digest": plan["digest"]})
    assert applied.status_code == 200, applied.text
    outcome = applied.json()["resources"][0]
    assert (outcome["kind"], outcome["state"]) == ("Secret", "stored")
    for again in (both, {**both, "sources": [source(naming(orders)), source(secret(key=MASK))]}):
        assert (await client.post("/v1/plan", json=again)).json()["changes"] == []
    changed = {**both, "sources": [source(naming(orders)), source(secret(key=CHANGED))]}
    (change,) = (await client.post("/v1/plan", json=changed)).json()["changes"]
    assert change["effects"] == ["policies of orders-v1 get other values of key; no request is lost"]
    assert "# a new value" in change["diff"]
    without = {**both, "sources": [source(naming(orders))]}
    assert "the key key of pay" in (await client.post("/v1/plan", json=without)).text
    gone = (await client.post("/v1/apply", json={"sources": [], "owner": "team-a", "prune": True})).json()
    assert [(change["action"], change["kind"]) for change in gone["changes"]] == [
        ("delete", "Api"),
        ("delete", "Secret"),
    ]
    assert (await client.get("/v1/secrets")).json() == {"secrets": []}


async def test_another_owners_secret_is_left_alone(client: httpx.AsyncClient) -> None:
    await put(client, secret(), params={"owner": "team-a"})
    assert (await put(client, secret(key="x"), params={"owner": "team-b"})).status_code == 409
    other = {"sources": [source(secret(key="x"))], "owner": "team-b"}
    assert (await client.post("/v1/apply", json=other)).status_code == 409
    pruned = await client.post("/v1/apply", json={"sources": [], "owner": "team-b", "prune": True})
    assert pruned.json()["changes"] == []
    assert (await client.post("/v1/apply", json={**other, "takeOver": True})).status_code == 200


async def test_a_publisher_uses_no_secret_but_those_of_its_scope(client: httpx.AsyncClient, orders: JsonObject) -> None:
    await put(client, secret("own", {"team": "a"}))
    await put(client, secret("other", {"team": "b"}))
    bound = await create(client, "a", "publisher", labels={"team": "a"})
    by_context = await create(client, "c", "publisher", contexts=["/mine"])

    async def written(reference: str, method: str = "POST", path: str = "/v1/apis") -> int:
        document = naming(orders, reference, "mine", team="a")
        if path == "/v1/apply":
            document = {"sources": [source(document)]}
        return (await client.request(method, path, json=document, headers=bound)).status_code

    assert await written("other/key") == 403
    assert await written("other/key", path="/v1/apply") == 403
    for value in (PLANTED, "another guess", MASK):
        guess = {"sources": [source(secret("other", {"team": "b"}, key=value))]}
        assert (await client.post("/v1/plan", json=guess, headers=bound)).status_code == 403, "no guess is confirmed"
    assert await written("own/key") == 201
    assert await written("other/key", "PUT", "/v1/apis/mine") == 403
    mine = naming(orders, "own/key", "mine", team="a")
    mine["metadata"]["labels"] = {}
    refused = await client.put("/v1/apis/mine", json=mine, headers=by_context)
    assert (refused.status_code, "no Secret" in refused.json()["detail"]) == (403, True)
    listed = (await client.get("/v1/secrets", headers=bound)).json()["secrets"]
    assert [item["metadata"]["name"] for item in listed] == ["own"]
    assert (await client.get("/v1/secrets", headers=by_context)).json() == {"secrets": []}
    for path in ("/v1/secrets/other", "/v1/secrets/other/revisions", "/v1/secrets/other/revisions/0"):
        assert (await client.get(path, headers=bound)).status_code == 403
    assert (await put(client, secret("other", {"team": "a"}), headers=bound)).status_code == 403
    assert (await put(client, secret("new", {"team": "b"}), headers=bound)).status_code == 403
    assert (await put(client, secret("new", {"team": "a"}), headers=bound)).status_code == 201
    assert (await client.delete("/v1/secrets/other", headers=bound)).status_code == 403
    assert (await client.post("/v1/secret-keys/rotation", headers=bound)).status_code == 403


async def test_nodes_whose_apis_name_it_get_its_values(
    client: httpx.AsyncClient, controller: Controller, connect: Callable[[Controller], Node], orders: JsonObject
) -> None:
    node = connect(controller)

    def sent() -> list[dict[str, str]]:
        return [dict(values.values) for values in controller.deployment.next_update(node).secrets]

    await put(client, secret())
    await client.post("/v1/apis", json=orders)
    assert sent() == []
    await client.put("/v1/apis/orders-v1", json=naming(orders))
    assert sent() == [{"key": PLANTED}]
    assert sent() == []
    await put(client, secret(key=CHANGED))
    assert sent() == [{"key": CHANGED}]
    await client.put("/v1/apis/orders-v1", json={**naming(orders), "spec": orders["spec"]})
    assert sent() == []
    await put(client, secret())
    assert sent() == []
    await client.put("/v1/apis/orders-v1", json=naming(orders))
    assert sent() == [{"key": PLANTED}]


async def test_rotation_encrypts_all_by_the_first_key(client: httpx.AsyncClient, kinds: Kinds, tmp_path: Path) -> None:
    await put(client, secret())
    await put(client, secret(key=CHANGED))
    file = tmp_path / "keys"
    file.write_text(f"{'22' * 32}\n{'11' * 32}\n")
    kinds.secrets.keyring = Keyring(file=file)
    rotated = (await client.post("/v1/secret-keys/rotation")).json()
    assert (rotated["rewritten"], rotated["left"], rotated["unreadable"]) == (3, 0, [])
    again = (await client.post("/v1/secret-keys/rotation")).json()
    assert (again["rewritten"], again["left"], again["key"]) == (0, 3, rotated["key"])
    file.write_text("22" * 32)
    assert (await client.post("/v1/secret-keys/rotation")).json()["left"] == 3
    assert (await put(client, secret(key=CHANGED))).json()["status"]["revision"] == 2
    assert (await client.get(f"{PAY}/diff")).json()["diff"].count("a new value") == 1
    file.write_text("33" * 32)
    lost = (await client.post("/v1/secret-keys/rotation")).json()
    assert (lost["rewritten"], lost["unreadable"]) == (0, ["pay"])
    assert (await put(client, secret(key=CHANGED))).status_code == 200, "writing it anew is the cure"
    assert (await client.get(PAY)).json()["status"]["state"] == "readable"


async def test_no_value_is_in_the_database_or_in_any_answer(
    database: str, folder: Path, caplog: pytest.LogCaptureFixture, orders: JsonObject
) -> None:
    from gatewright_controller.gateway.gateways import Gateways
    from gatewright_controller.management.api import create_app

    caplog.set_level("DEBUG")
    store = open_store(database)
    controller = Controller(store, lambda: load_definitions(folder, {"guard": {"issuer": "https://x"}}), EdgeSettings())
    kinds = open_kinds(controller, Keyring("11" * 32))
    app = create_app(controller, Gateways(store, controller.deployment, None), kinds=kinds)
    texts = []
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:

        async def ask(method: str, path: str, body: object = None) -> None:
            texts.append((await client.request(method, path, json=body)).text)

        await ask("PUT", PAY, secret())
        await ask("POST", "/v1/apis", naming(orders))
        await ask("PUT", PAY, secret(key=CHANGED))
        await ask("PUT", PAY, {**secret(key=CHANGED), "unknown": PLANTED})
        await ask("PUT", PAY, {**secret(), "spec": {"values": {"key": [PLANTED]}, "more": PLANTED}})
        both = {"sources": [source(secret()), source(naming(orders))]}
        for path in ("/v1/plan", "/v1/apply", "/v1/apply"):
            await ask("POST", path, both)
        await ask("POST", f"{PAY}/rollback", {"revision": -1})
        for path in ("", "/revisions", "/revisions/0", "/revisions/-1", "/diff"):
            await ask("GET", f"{PAY}{path}")
        for path in ("/v1/secrets", "/v1/audit?changes=true", "/v1/apis", "/v1/apis/orders-v1/diff", "/metrics"):
            await ask("GET", path)
    assert texts[0].startswith("{")
    content = database_bytes(database)
    store.close()
    for value in (PLANTED, CHANGED):
        assert [text for text in texts if value in text] == []
        assert value not in caplog.text
        assert value.encode() not in content
    assert b"pay" in content


def database_bytes(url: str) -> bytes:
    """Of the files that hold the database, and of its log."""
    if url.startswith("sqlite:"):
        return folder_bytes(Path(url.removeprefix("sqlite:")).parent)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CHECKPOINT")  # after which all pages are in files
        asked = "SELECT current_setting('data_directory'), oid FROM pg_database WHERE datname = current_database()"
        row = connection.execute(asked).fetchone()
    assert row is not None
    data = Path(row[0])
    return folder_bytes(data / "base" / str(row[1])) + folder_bytes(data / "pg_wal")


def folder_bytes(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir() if path.is_file())


async def test_users_are_listed_as_far_as_a_caller_may_see_them(client: httpx.AsyncClient, orders: JsonObject) -> None:
    await put(client, secret(labels={"team": "a"}))
    for name, team in (("mine", "a"), ("theirs", "b")):
        assert (await client.post("/v1/apis", json=naming(orders, name=name, team=team))).status_code == 201

    async def users(headers: dict[str, str]) -> list[str]:
        return [user["name"] for user in (await client.get(f"{PAY}/users", headers=headers)).json()["users"]]

    assert await users({}) == ["mine", "theirs"]
    assert await users(await create(client, "bound", "publisher", labels={"team": "a"})) == ["mine"]
    other = await create(client, "other", "publisher", labels={"team": "b"})
    assert (await client.get(f"{PAY}/users", headers=other)).status_code == 403


def from_files(**values: str) -> JsonObject:
    """A Secret whose key is in a file, as a source of a set with these contents beside it."""
    document = secret()
    document["spec"] = {"values": {"other": CHANGED}, "valuesFromFiles": {"key": "key.txt"}}
    return {**source(document), "values": values}


async def test_values_from_files_come_beside_the_document(client: httpx.AsyncClient) -> None:
    body: JsonObject = {"sources": [from_files(key=PLANTED)]}
    planned = (await client.post("/v1/plan", json=body)).json()
    applied = await client.post("/v1/apply", json={**body, "digest": planned["digest"]})
    assert applied.status_code == 200, applied.text
    shown = (await client.get(PAY)).json()
    assert shown["spec"] == {"values": {"key": MASK, "other": MASK}}
    assert (await client.post("/v1/plan", json=body)).json()["changes"] == [], "twice is nothing"
    whole = secret(other=CHANGED, key=PLANTED)
    assert (await put(client, whole)).json()["status"]["revision"] == shown["status"]["revision"]
    moved = {"sources": [from_files(key=CHANGED)]}
    assert (await client.post("/v1/plan", json=moved)).json()["digest"] != planned["digest"]
    assert PLANTED not in json.dumps([planned, applied.json(), shown])


async def test_a_plan_is_of_the_values_of_all_documents_of_a_file(client: httpx.AsyncClient) -> None:
    last = secret("last")

    async def digest(key: str) -> str:
        sources = [{"file": "all.json", "text": json.dumps(document)} for document in (secret(key=key), last)]
        planned = (await client.post("/v1/plan", json={"sources": sources})).json()
        return str(planned["digest"])

    assert await digest(PLANTED) == await digest(PLANTED)
    assert await digest(PLANTED) != await digest(CHANGED)


async def test_values_of_files_that_did_not_come_are_asked_for(client: httpx.AsyncClient) -> None:
    cure = "apply the file by `gatewright apply`, which reads it, or write the value itself"
    missing = f"spec.valuesFromFiles.key: expected the content of this file beside the document; {cure}"
    document = json.loads(from_files()["text"])
    for answer in (
        await client.post("/v1/apply", json={"sources": [from_files()]}),
        await client.post("/v1/apply", json={"sources": [from_files(other=PLANTED)]}),
        await put(client, document),
    ):
        assert answer.status_code == 422
        assert [found.removeprefix("pay.json:1: ").replace(", got none", "") for found in fields(answer)] == [missing]
    twice = {**document, "spec": {"values": {"key": PLANTED}, "valuesFromFiles": {"key": "key.txt"}}}
    refused = await client.post("/v1/apply", json={"sources": [{**source(twice), "values": {"key": PLANTED}}]})
    assert "spec.valuesFromFiles.key: expected each key once" in fields(refused)[0]
    empty = await client.post("/v1/apply", json={"sources": [from_files(key="")]})
    assert fields(empty)[0].startswith("pay.json:1: spec.values: expected text")
    nothing = {**document, "spec": {}}
    assert fields(await put(client, nothing)) == ["spec: expected values with at least one key, got none; write one"]
    assert PLANTED not in refused.text + empty.text
