"""The Gateway, through the management API and as nodes get it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from gatewright_controller._gen import node_pb2
from gatewright_controller.acme.certificates import AcmeCertificates
from gatewright_controller.apis.controller import Controller
from gatewright_controller.gateway.gateway_file import effective, render
from gatewright_controller.gateway.gateways import Gateways
from gatewright_controller.management.api import create_app
from gatewright_controller.nodes.deployment import Deployment
from gatewright_controller.nodes.node import Node
from gatewright_controller.store import StorageError, open_store
from gatewright_controller.store.sql_store import SqlStore
from gatewright_documents.mistake import Invalid
from gatewright_documents.values import JsonObject

pytestmark = pytest.mark.anyio
APPLIED = node_pb2.ApiStatus.STATE_APPLIED
REJECTED = node_pb2.ApiStatus.STATE_REJECTED


def written(port: int = 8080, **spec: object) -> JsonObject:
    listeners = [{"name": "http", "port": port}]
    return {"apiVersion": "gatewright.dev/v1", "kind": "Gateway", "spec": {"listeners": listeners, **spec}}


def digest(document: JsonObject) -> str:
    return node_pb2.Gateway.FromString(render(effective(document, {}, {}))).digest


def connected(deployment: Deployment, served: str = "") -> Node:
    return deployment.connect(node_pb2.Hello(node_id="n1", gateway_digest=served))


def report(deployment: Deployment, node: Node, what: str, state: node_pb2.ApiStatus.State, reason: str = "") -> None:
    status = node_pb2.GatewayStatus(digest=what, state=state, reason=reason)
    deployment.report(node, node_pb2.Report(gateway=status))


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., Path]:
    """Writes the effective document that a run would: of `document`, from a gateway.yaml or not."""

    def write(document: JsonObject | None = None, source: str = "", **options: object) -> Path:
        made = effective(document, {}, {**options, **({"source": source} if source else {})})
        (tmp_path / "gateway.json").write_text(json.dumps(made))
        return tmp_path / "gateway.json"

    return write


@asynccontextmanager
async def api(
    controller: Controller, file: Path | None, acme: AcmeCertificates | None = None
) -> AsyncIterator[httpx.AsyncClient]:
    gateways = Gateways(controller.store, controller.deployment, file, acme)
    gateways.load()
    transport = httpx.ASGITransport(create_app(controller, gateways), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        yield client


async def test_without_a_file_there_is_none_until_one_is_written(controller: Controller) -> None:
    async with api(controller, None) as client:
        node = connected(controller.deployment, "its own")
        assert not controller.deployment.next_update(node).HasField("gateway")
        assert (await client.get("/v1/gateway")).status_code == 404
        assert (await client.post("/v1/gateway/reload")).status_code == 404
        assert (await client.delete("/v1/gateway")).status_code == 404
        answer = await client.put("/v1/gateway", json=written(8081))
        assert answer.json()["status"]["change"] == {"added": ["http"], "changed": [], "removed": [], "restart": []}
        assert (await client.get("/v1/gateway")).json()["status"]["origin"] == "api"
        assert controller.deployment.next_update(node).gateway.digest == digest(written(8081))


async def test_a_stored_gateway_is_handed_out_although_the_database_goes_away_then(
    controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_: SqlStore) -> int:
        raise StorageError("no connection", full=False, away=True)

    async with api(controller, None) as client:
        node = connected(controller.deployment)
        monkeypatch.setattr(SqlStore, "revision", property(away))
        assert (await client.put("/v1/gateway", json=written(8081))).status_code == 200
        assert controller.deployment.next_update(node).gateway.digest == digest(written(8081))


async def test_a_node_is_sent_what_it_does_not_serve_once(controller: Controller) -> None:
    async with api(controller, None) as client:
        await client.put("/v1/gateway", json=written())
        same, other = digest(written()), connected(controller.deployment, "other")
        assert controller.deployment.next_update(other).gateway.digest == same
        assert not controller.deployment.next_update(other).HasField("gateway")
        again = connected(controller.deployment, same)
        assert not controller.deployment.next_update(again).HasField("gateway")
        assert (await client.get("/v1/gateway")).json()["status"]["state"] == "deployed"


async def test_setting_a_gateway_is_logged_once(controller: Controller, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with api(controller, None) as client:
        for port in (8080, 8080, 8081, 8081, 8080):
            assert (await client.put("/v1/gateway", json=written(port))).status_code == 200
    digests = [vars(record)["digest"] for record in caplog.records if record.getMessage() == "Gateway set"]
    assert digests == [digest(written(port))[:12] for port in (8080, 8081, 8080)]


async def test_its_state_on_nodes_is_shown(controller: Controller) -> None:
    async with api(controller, None) as client:
        await client.put("/v1/gateway", json=written())
        assert (await client.get("/v1/gateway")).json()["status"]["reason"] == "no node is connected"
        node = connected(controller.deployment, "before")
        status = (await client.get("/v1/gateway")).json()["status"]
        assert (status["state"], status["reason"]) == ("pending", "n1: has not acknowledged it yet")
        report(controller.deployment, node, digest(written()), REJECTED, "address in use")
        status = (await client.get("/v1/gateway")).json()["status"]
        assert (status["state"], status["nodes"]) == (
            "rejected",
            [{"node": "n1", "state": "rejected", "reason": "address in use"}],
        )
        (shown,) = (await client.get("/v1/nodes")).json()["nodes"]
        assert shown["gateway"] == {"name": "", "digest": "before", "state": "rejected", "reason": "address in use"}
        report(controller.deployment, node, digest(written()), APPLIED)
        assert (await client.get("/v1/gateway")).json()["status"]["state"] == "deployed"


async def test_a_write_waits_for_nodes(controller: Controller) -> None:
    async with api(controller, None) as client:
        node = connected(controller.deployment)
        writing = asyncio.create_task(client.put("/v1/gateway?wait=60", json=written()))
        while not (sent := controller.deployment.next_update(node).gateway).digest:
            await asyncio.sleep(0.01)
        assert not writing.done()
        report(controller.deployment, node, sent.digest, APPLIED)
        assert (await writing).json()["status"]["state"] == "deployed"
        assert (await client.put("/v1/gateway?wait=0.05", json=written(81))).json()["status"]["state"] == "pending"


async def test_what_a_file_says_is_changed_there(controller: Controller, file: Callable[..., Path]) -> None:
    async with api(controller, file(written(), "/etc/gateway.yaml")) as client:
        refused = await client.put("/v1/gateway", json=written(81))
        assert refused.status_code == 409
        assert "/etc/gateway.yaml" in refused.json()["detail"]
        file(written(82), "/etc/gateway.yaml")
        tried = await client.post("/v1/gateway/reload?dry_run=true")
        assert tried.json()["status"] == {"change": {"added": [], "changed": ["http"], "removed": [], "restart": []}}
        assert (await client.get("/v1/gateway")).json()["spec"]["listeners"][0]["port"] == 8080
        done = await client.post("/v1/gateway/reload")
        assert (done.json()["spec"]["listeners"][0]["port"], done.json()["status"]["origin"]) == (82, "file")


async def test_a_gateway_that_is_written_replaces_the_options_until_it_is_deleted(
    controller: Controller, file: Callable[..., Path]
) -> None:
    async with api(controller, file(port=8000)) as client:
        assert (await client.get("/v1/gateway")).json()["status"]["origin"] == "run"
        tried = await client.put("/v1/gateway?dry_run=true", json=written(81))
        assert tried.json()["status"]["change"]["changed"] == ["http"]
        assert (await client.get("/v1/gateway")).json()["spec"]["listeners"][0]["port"] == 8000
        await client.put("/v1/gateway", json=written(81))
    async with api(controller, file(port=8000)) as client:
        shown = (await client.get("/v1/gateway")).json()
        assert (shown["spec"]["listeners"][0]["port"], shown["status"]["origin"]) == (81, "api")
        file(written(83), "/etc/gateway.yaml")
        assert (await client.post("/v1/gateway/reload")).json()["spec"]["listeners"][0]["port"] == 83
        assert (await client.delete("/v1/gateway?wait=0.01")).status_code == 204
        assert (await client.get("/v1/gateway")).json()["spec"]["listeners"][0]["port"] == 83


async def test_what_envoy_cannot_change_in_place_is_refused_or_waits_for_a_restart(
    controller: Controller, file: Callable[..., Path]
) -> None:
    async with api(controller, file(written(), max_connections=100)) as client:
        refused = await client.put("/v1/gateway", json=written(limits={"connections": 200, "memory": 2**28}))
        assert [(mistake["field"], mistake["message"].partition(";")[0]) for mistake in refused.json()["errors"]] == [
            ("spec.limits.connections", "expected 100, as the node was started with, got 200"),
            ("spec.limits.memory", f"expected none, as the node was started with, got {2**28}"),
        ]
        assert (await client.put("/v1/gateway", json=written(81, limits={"connections": 100}))).status_code == 200
    async with api(controller, file(written(), "/etc/gateway.yaml")) as client:
        file(written(81, limits={"connections": 200}), "/etc/gateway.yaml")
        tried = await client.post("/v1/gateway/reload?dry_run=true")
        assert tried.json()["status"]["change"]["restart"] == ["spec.limits.connections"]
        done = (await client.post("/v1/gateway/reload")).json()
        assert (done["spec"]["listeners"][0]["port"], done["status"]["restart"]) == (81, ["spec.limits.connections"])


async def test_mistakes_are_reported_with_their_places(controller: Controller, file: Callable[..., Path]) -> None:
    path = file(written(), "/etc/gateway.yaml")
    async with api(controller, path) as client:
        path.write_text("apiVersion: gatewright.dev/v1\nkind: Gateway\nspec: {listeners: []}\n")
        answer = await client.post("/v1/gateway/reload")
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["field"] == f"{path}: spec.listeners"
        assert (await client.get("/v1/gateway")).json()["spec"]["listeners"][0]["port"] == 8080
        assert (await client.put("/v1/gateway?dry_run=maybe", json=written())).status_code == 400
        path.write_text("[")
        assert (await client.post("/v1/gateway/reload")).status_code == 400
    with pytest.raises(Invalid, match="expected a YAML document"):
        Gateways(controller.store, controller.deployment, path)


async def test_what_an_api_names_stays(controller: Controller, file: Callable[..., Path], orders: JsonObject) -> None:
    authorities = {"internal": {"file": "/tls/internal.pem"}}
    orders["spec"]["upstream"]["main"] = {"url": "https://orders", "tls": {"authority": "internal"}}
    async with api(controller, file()) as client:
        assert (await client.put("/v1/gateway", json=written(authorities=authorities))).is_success
        assert (await client.post("/v1/apis", json=orders)).status_code == 201
        refused = await client.put("/v1/gateway", json=written(), params={"dry_run": "true"})
        assert refused.status_code == 422
        sentence = "expected 'internal', which the upstream main of the API orders-v1 names, got none; keep it, or"
        assert sentence in refused.text
        assert (await client.delete("/v1/gateway")).status_code == 422
        assert (await client.get("/v1/gateway")).json()["spec"]["authorities"] == authorities
        assert (await client.delete("/v1/apis/orders-v1")).is_success
        assert (await client.put("/v1/gateway", json=written())).is_success
    async with api(controller, file(written(authorities=authorities), source="/g/gateway.yaml")) as client:
        assert (await client.post("/v1/apis", json=orders)).status_code == 201
        file(written(), source="/g/gateway.yaml")
        assert (await client.post("/v1/gateway/reload")).status_code == 422


async def test_headers_of_collectors_are_written_and_never_shown(controller: Controller) -> None:
    async with api(controller, None) as client:
        logs = {"collector": "a.example:4317", "headers": {"x-team": "hunter2", "tenant": "blue"}}
        answer = await client.put("/v1/gateway", json=written(logs=logs))
        shown = (await client.get("/v1/gateway")).json()
        assert "hunter2" not in answer.text + json.dumps(shown)
        assert shown["spec"]["logs"]["headers"] == {"x-team": "********", "tenant": "********"}
        shown["spec"]["logs"]["headers"]["tenant"] = "red"
        assert (await client.put("/v1/gateway", json=shown)).status_code == 200
        stored = controller.store.gateway()
        assert stored is not None
        assert stored.document["spec"]["logs"]["headers"] == {"x-team": "hunter2", "tenant": "red"}
        shown["spec"]["logs"]["headers"] = {"other": "********"}
        answer = await client.put("/v1/gateway", json=shown)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "spec.logs.headers.other")


async def test_a_mistake_in_a_body_has_its_line(controller: Controller) -> None:
    async with api(controller, None) as client:
        text = "apiVersion: gatewright.dev/v1\nkind: Gateway\nspec:\n  listeners:\n    - {name: a, port: 0}\n"
        answer = await client.put("/v1/gateway", content=text, headers={"content-type": "application/yaml"})
        (error,) = answer.json()["errors"]
        assert (error["field"], error["line"]) == ("spec.listeners[0].port", 5)
        shown = (await client.put("/v1/gateway", json=written())).json()
        assert (await client.put("/v1/gateway", json=shown)).json()["status"]["revision"] == 1, "status is ours"


def test_what_was_written_outlives_the_controller(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'controller.db'}"
    store = open_store(url)
    assert (store.gateway(), store.delete_gateway()) == (None, None)
    first = store.put_gateway(written())
    assert store.put_gateway(written()) == first
    assert store.put_gateway(written(81)).revision == store.revision == 2
    store.close()
    store = open_store(url)
    kept = store.gateway()
    assert kept is not None
    assert kept.document == written(81)
    assert (store.delete_gateway(), store.gateway(), store.revision) == (3, None, 3)
    store.close()


async def test_what_is_no_longer_valid_is_not_used(controller: Controller, file: Callable[..., Path]) -> None:
    controller.store.put_gateway({**written(), "later": 1})
    async with api(controller, file(port=8000)) as client:
        assert (await client.get("/v1/gateway")).json()["status"]["origin"] == "run"


def asking_for_a_certificate() -> JsonObject:
    return written(certificates={"web": {"acme": {"hosts": ["a.example"], "termsOfServiceAgreed": True}}})


async def test_a_controller_that_answers_no_challenges_obtains_nothing(controller: Controller) -> None:
    async with api(controller, None) as client:
        answer = await client.put("/v1/gateway", json=asking_for_a_certificate())
        assert answer.status_code == 422
        (error,) = answer.json()["errors"]
        assert error["field"] == "spec.certificates.web.acme"
        assert "expected a controller that obtains certificates, got one without" in error["message"]
        assert (await client.get("/v1/gateway")).status_code == 404


async def test_nodes_get_an_acme_certificate_once_it_has_a_placeholder(controller: Controller, tmp_path: Path) -> None:
    acme = AcmeCertificates(tmp_path / "acme", asyncio.Event().wait)
    async with api(controller, None, acme) as client:
        node = connected(controller.deployment)
        answer = await client.put("/v1/gateway", json=asking_for_a_certificate())
        status = answer.json()["status"]["certificates"]["web"]
        assert (status["hosts"], status["obtained"], status["error"]) == (["a.example"], False, "")
        sent = controller.deployment.next_update(node).gateway
        assert sent.answers_challenges
        (certificate,) = sent.certificates
        assert (
            certificate.certificate_file == certificate.key_file == str(tmp_path / "acme" / "certificates" / "web.pem")
        )
        assert "PRIVATE KEY" in Path(certificate.key_file).read_text()
        assert "PRIVATE KEY" not in answer.text
