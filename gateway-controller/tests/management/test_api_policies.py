"""APIs when the policies of the build change, and when the controller restarts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from gatewright_controller.apis.controller import Controller
from gatewright_controller.nodes.node import Node
from gatewright_controller.resource.definitions import Definitions, load_definitions
from gatewright_controller.translate import EdgeSettings
from gatewright_documents.values import JsonObject, JsonValue

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]
Connect = Callable[[Controller], Node]


async def test_what_is_stored_is_handed_out_after_a_restart(
    client: httpx.AsyncClient, controller: Controller, orders: JsonObject, definitions: Definitions, connect: Connect
) -> None:
    await client.post("/v1/apis", json=orders)
    later = Controller(controller.store, lambda: definitions, EdgeSettings())
    later.load()
    update = later.deployment.next_update(connect(later))
    before = controller.deployment.next_update(connect(controller))
    assert list(update.bundles) == list(before.bundles)
    assert update.revision == 1


async def test_a_new_version_can_be_attached_once_the_definitions_are_read_again(
    client: httpx.AsyncClient, folder: Path, orders: JsonObject
) -> None:
    orders["spec"]["policies"] = [{"name": "log-message", "version": "v2.0.0"}]
    assert (await client.post("/v1/apis", json=orders)).status_code == 422
    text = (folder / "log-message-v1.0.0.yaml").read_text()
    (folder / "log-message-v2.0.0.yaml").write_text(text.replace("v1.0.0", "v2.0.0"))
    (folder / "count-v1.0.0.yaml").unlink()
    answer = await client.post("/v1/policies/reload")
    expected = {"added": ["log-message:v2.0.0"], "removed": ["count:v1.0.0"], "changed": [], "moved": [], "apis": []}
    assert (answer.status_code, answer.json()) == (200, expected)
    assert (await client.post("/v1/apis", json=orders)).status_code == 201


def definitions_in(folder: Path) -> JsonObject:
    return {"definitions": {file.name: file.read_text() for file in folder.glob("*.yaml")}}


async def test_a_changed_definition_is_taken_over_with_the_apis_that_attach_it(
    client: httpx.AsyncClient, controller: Controller, folder: Path, orders: JsonObject, connect: Connect
) -> None:
    await client.post("/v1/apis", json=orders)
    node = connect(controller)
    (before,) = controller.deployment.next_update(node).bundles
    file = folder / "log-message-v1.0.0.yaml"
    file.write_text(file.read_text() + "# a comment changes nothing\n")
    assert (await client.post("/v1/policies/reload")).json()["changed"] == []
    assert not controller.deployment.next_update(node).bundles
    file.write_text(file.read_text().replace("displayName:", "displayName: Other"))
    foreseen = (await client.post("/v1/policies/check", json=definitions_in(folder))).json()
    assert foreseen["changed"] == ["log-message:v1.0.0"]
    answer = await client.post("/v1/policies/reload?wait=0")
    reloaded = answer.json()
    states = [(api["name"], api["state"]) for api in reloaded["apis"]]
    assert states == [("orders-v1", "rejected")]  # the node is as it was
    assert {**reloaded, "apis": []} == foreseen
    node.policies = {(definition.name, definition.version): definition.digest for definition in controller.definitions}
    (after,) = controller.deployment.next_update(node).bundles
    digests = [{a.definition_digest for c in bundle.chains for a in c.attachments} for bundle in (before, after)]
    assert digests[0] != digests[1]


NEEDS_MORE = """
parameters:
  type: object
  required: [audience]
  properties: {audience: {type: string}}
"""


@pytest.mark.parametrize("endpoint", ["check", "reload"])
async def test_a_changed_definition_that_an_api_does_not_fit_is_refused_and_changes_nothing(
    client: httpx.AsyncClient, folder: Path, orders: JsonObject, endpoint: str
) -> None:
    await client.post("/v1/apis", json=orders)
    before = (await client.get("/v1/policies")).json()
    file = folder / "log-message-v1.0.0.yaml"
    file.write_text(file.read_text().partition("parameters:")[0] + NEEDS_MORE)
    body = definitions_in(folder) if endpoint == "check" else None
    answer = await client.post(f"/v1/policies/{endpoint}", json=body)
    assert answer.status_code == 422
    (mistake,) = answer.json()["errors"]
    assert mistake["field"] == "API orders-v1: spec.policies[0].params.audience"
    sentence = "expected a string, got nothing; change both in one step, `gatewright apply --reload -f FILE`"
    assert mistake["message"].startswith(sentence)
    assert (await client.get("/v1/policies")).json() == before


def orders_with(orders: JsonObject, **params: str) -> JsonObject:
    attached = {"name": "log-message", "version": "v1", "params": params}
    return {**orders, "spec": {**orders["spec"], "policies": [attached]}}


def source(document: JsonObject, file: str = "orders.json", above: int = 0) -> JsonObject:
    return {"file": file, "text": "\n" * above + json.dumps(document, indent=1)}


def needing_more(folder: Path) -> None:
    file = folder / "log-message-v1.0.0.yaml"
    file.write_text(file.read_text().partition("parameters:")[0] + NEEDS_MORE)


async def test_a_required_parameter_comes_with_the_api_that_sets_it(
    client: httpx.AsyncClient, controller: Controller, folder: Path, orders: JsonObject, connect: Connect
) -> None:
    await client.post("/v1/apis", json=orders)
    refused = await client.put("/v1/apis/orders-v1", json=orders_with(orders, audience="us"))
    (mistake,) = refused.json()["errors"]
    assert mistake["message"].endswith(
        "got 'audience'; remove it or correct its name; for parameters of a changed policy, deploy both: "
        "`gatewright apply --reload -f FILE`"
    )
    node = connect(controller)
    controller.deployment.next_update(node)
    needing_more(folder)
    apis = {"apis": [source(orders_with(orders, audience="us"))]}
    checked = await client.post("/v1/policies/check", json={**definitions_in(folder), **apis})
    assert (checked.status_code, checked.json()["changed"]) == (200, ["log-message:v1.0.0"])
    assert "params" not in (await client.get("/v1/apis/orders-v1")).json()["spec"]["policies"][0]
    done = await client.post("/v1/policies/reload", json=apis)
    assert (done.status_code, [api["name"] for api in done.json()["apis"]]) == (200, ["orders-v1"])
    after = (await client.get("/v1/apis/orders-v1")).json()
    assert (after["spec"]["policies"][0]["params"], after["status"]["revision"]) == ({"audience": "us"}, 2)
    node.policies = {(definition.name, definition.version): definition.digest for definition in controller.definitions}
    (bundle,) = controller.deployment.next_update(node).bundles
    attachments = [attachment for chain in bundle.chains for attachment in chain.attachments]
    attached = [attachment for attachment in attachments if attachment.policy_name == "log-message"]
    digest = next(policy.digest for policy in controller.definitions if policy.name == "log-message")
    found = {(attachment.definition_digest, attachment.parameters) for attachment in attached}
    assert found == {(digest, b'{"audience":"us"}')}
    again = await client.post("/v1/policies/reload", json=apis)
    assert again.status_code == 200
    assert (await client.get("/v1/apis/orders-v1")).json()["status"]["revision"] == 2, "it is as it was"


async def test_of_several_apis_that_come_with_definitions_all_are_taken_or_none(
    client: httpx.AsyncClient, controller: Controller, folder: Path, orders: JsonObject
) -> None:
    await client.post("/v1/apis", json=orders)
    before = (controller.definitions, controller.store.list(), (await client.get("/v1/policies")).json())
    needing_more(folder)
    taken = "spec.context: expected a context that no other API has, got '/orders/v1.0', which is orders-v1's"
    good = orders_with(orders, audience="us")
    other = {**orders_with(orders, audience="us"), "metadata": {"name": "other"}}
    wrong = {**orders_with(orders), "metadata": {"name": "wrong"}}
    for endpoint in ("check", "reload"):
        sources = [source(good), source(other, "other.json"), source(wrong, "wrong.json", above=9)]
        sources += [source(good, "twice.json"), {"file": "no.yaml", "text": "\n- 1\n"}]
        definitions = definitions_in(folder) if endpoint == "check" else {}
        answer = await client.post(f"/v1/policies/{endpoint}", json={**definitions, "apis": sources})
        assert answer.status_code == 422
        line = 10 + source(wrong)["text"].splitlines().index('    "params": {}')
        assert [f"{mistake['field']}: {mistake['message']}" for mistake in answer.json()["errors"]] == [
            "no.yaml:1: expected an object with apiVersion, kind, metadata and spec",
            f"other.json:9: {taken}",
            "twice.json:5: metadata.name: expected each API once, got 'orders-v1' a second time",
            f"wrong.json:18: {taken}",
            f"wrong.json:{line}: spec.policies[0].params.audience: expected a string, got nothing",
        ]
    after = (controller.definitions, controller.store.list(), (await client.get("/v1/policies")).json())
    assert after == before


async def test_a_context_passes_from_one_api_to_another_that_comes_with_it(
    client: httpx.AsyncClient, controller: Controller, orders: JsonObject
) -> None:
    await client.post("/v1/apis", json=orders)
    moved = {**orders, "spec": {**orders["spec"], "context": "/elsewhere"}}
    heir = {**orders, "metadata": {"name": "heir"}}
    done = await client.post("/v1/policies/reload", json={"apis": [source(heir, "heir.json"), source(moved)]})
    assert done.status_code == 200, done.text
    claims = {(claim.host, claim.context): name for claim, name in controller.store.claims().items()}
    assert claims == {("*", "/orders/v1.0"): "heir", ("*", "/elsewhere"): "orders-v1"}
    assert controller.deployment.apis == {"heir", "orders-v1"}


@pytest.mark.parametrize("apis", [{}, [1], [{"file": "a.yaml"}], [{"file": "a.yaml", "text": 1}]])
async def test_apis_beside_definitions_are_files_and_texts(client: httpx.AsyncClient, apis: JsonValue) -> None:
    answer = await client.post("/v1/policies/reload", json={"apis": apis})
    assert (answer.status_code, answer.json()["detail"]) == (422, 'expected "apis": [{"file": FILE, "text": TEXT}, …]')


async def test_an_api_beside_definitions_is_no_longer_than_one_alone(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/policies/reload", json={"apis": [{"file": "a.yaml", "text": " " * 20_001}]})
    assert (answer.status_code, answer.json()["detail"]) == (
        413,
        "expected APIs of at most 20000 bytes each, got more in a.yaml",
    )


async def test_policies_that_lack_system_parameters_are_refused_before_they_are_attached(
    client: httpx.AsyncClient, folder: Path
) -> None:
    (folder / "fresh.yaml").write_text(
        "name: fresh\nversion: v1.0.0\nruntime: python\nprocessingMode: {requestHeaderMode: PROCESS}\n"
        "systemParameters: {type: object, required: [issuer], properties: {issuer: {type: string}}}\n"
    )
    answer = await client.post("/v1/policies/check", json=definitions_in(folder))
    assert answer.status_code == 422
    (mistake,) = answer.json()["errors"]
    assert mistake["field"] == "systemParameters.fresh.issuer"
    assert "GATEWRIGHT_CONTROLLER_SYSTEM_PARAMETERS" in mistake["message"]


@pytest.mark.parametrize("body", [{}, {"definitions": []}, {"definitions": {"a.yaml": 1}}])
async def test_a_check_asks_for_definitions(client: httpx.AsyncClient, body: JsonObject) -> None:
    answer = await client.post("/v1/policies/check", json=body)
    assert (answer.status_code, answer.json()["detail"]) == (422, 'expected {"definitions": {FILE: TEXT}}')


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_no_web_page_of_another_origin_has_definitions_checked(
    client: httpx.AsyncClient, media_type: str
) -> None:
    """A browser sends these types to any origin without asking it."""
    headers = {"content-type": media_type} if media_type else {}
    answer = await client.post("/v1/policies/check", content=b'{"definitions": {}}', headers=headers)
    assert answer.status_code == 415


def versions_of(answer: httpx.Response) -> list[str]:
    return [policy["version"] for policy in answer.json()["policies"]]


@pytest.mark.parametrize("how", ["at a start", "at a reload"])
async def test_what_asks_for_v1_keeps_its_version_and_moves_when_that_is_gone(
    client: httpx.AsyncClient,
    controller: Controller,
    rewritten: Callable[..., None],
    folder: Path,
    orders: JsonObject,
    how: str,
) -> None:
    orders["spec"]["operations"] = [{"method": "GET", "path": "/{id}"}]
    await client.post("/v1/apis", json=orders)

    async def has(version: str, state: str = "pending") -> None:
        fresh = controller
        if how == "at a start":
            read = controller._read_definitions
            fresh = Controller(controller.store, read, EdgeSettings())
            fresh.load()
        else:
            assert (await client.post("/v1/policies/reload")).status_code == 200
        assert controller.store.get("orders-v1").versions == (version,)
        assert fresh.deployment.status("orders-v1").state == state

    rewritten("v1.0.0", "v1.0.1", keep=True)
    await has("v1.0.0")
    (folder / "log-message-v1.0.0.yaml").unlink()
    await has("v1.0.1")
    rewritten("v1.0.1", "v1.3.0", keep=True, parameters=NEEDS_MORE)
    rewritten("v1.0.1", "v1.2.0")
    await has("v1.2.0")  # v1.3.0 does not take its parameters
    assert versions_of(await client.get("/v1/apis/orders-v1/status")) == ["v1.2.0"]
    assert (await client.get("/v1/apis/orders-v1")).json()["spec"]["policies"][0]["version"] == "v1"


async def test_where_no_version_is_left_the_reason_names_the_wanted_and_the_known_ones(
    client: httpx.AsyncClient,
    controller: Controller,
    rewritten: Callable[..., None],
    orders: JsonObject,
    connect: Connect,
) -> None:
    await client.post("/v1/apis", json=orders)
    rewritten("v1.0.0", "v2.0.0")
    later = Controller(controller.store, controller._read_definitions, EdgeSettings())
    later.load()
    status = later.deployment.status("orders-v1")
    assert status.state == "rejected"
    assert "expected a version of log-message in this build, v2.0.0, got 'v1'" in status.reason
    (bundle,) = later.deployment.next_update(connect(later)).bundles
    assert (bundle.context, bundle.unserved) == ("/orders/v1.0", status.reason)


async def test_what_asks_for_an_exact_version_never_moves(
    client: httpx.AsyncClient, rewritten: Callable[..., None], folder: Path, orders: JsonObject
) -> None:
    orders["spec"]["policies"][0]["version"] = "v1.0.0"
    await client.post("/v1/apis", json=orders)
    rewritten("v1.0.0", "v1.0.1")
    answer = await client.post("/v1/policies/check", json=definitions_in(folder))
    assert answer.status_code == 422
    assert "v1.0.1, got 'v1.0.0'" in answer.json()["errors"][0]["message"]


async def test_an_api_that_was_held_back_comes_with_its_definition(
    client: httpx.AsyncClient, controller: Controller, folder: Path, orders: JsonObject
) -> None:
    await client.post("/v1/apis", json=orders)
    file = folder / "rewrite-body-v1.0.0.yaml"
    text = file.read_text()
    file.unlink()
    later = Controller(controller.store, lambda: load_definitions(folder, {"guard": {"issuer": "x"}}), EdgeSettings())
    later.load()
    assert later.deployment.status("orders-v1").state == "rejected"
    file.write_text(text)
    await later.reload_definitions()
    assert later.deployment.status("orders-v1").state == "pending"
