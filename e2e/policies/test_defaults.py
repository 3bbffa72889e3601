"""Defaults at a real node: a key guards all APIs of a label, and one without it is open."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator

import httpx
import pytest
import yaml

from e2e.kit.gateway import Gateway, Json, api, attach, eventually, running
from e2e.kit.markdown import blocks, page
from e2e.kit.policy_project import PolicyProject
from e2e.kit.upstream import Upstream

pytestmark = pytest.mark.timeout(300)
FIRST, SECOND = "first-key-of-the-payments-team", "second-key-of-the-payments-team"


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("defaults")
    project = PolicyProject(folder, "e2e-defaults", go=("api-key-auth", "set-headers"))
    with running(None, folder / "state", *project.arguments) as gateway:
        yield gateway


def defaults(key: str) -> Json:
    """Those of the page, which want this key."""
    (text,) = blocks(page("docs/how-to/defaults.md"), "yaml")
    document: Json = yaml.safe_load(text)
    (guard,) = document["spec"]["policies"]["before"]
    guard["params"]["keys"][0]["hash"] = f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"
    return document


def labelled(name: str, upstream: Upstream, **labels: str) -> Json:
    document = api(
        name, upstream.url, [attach("set-headers", {"response": {"set": [{"name": "x-own", "value": name}]}})]
    )
    document["metadata"]["labels"] = labels
    return document


def statuses(gateway: Gateway, key: str = "") -> list[int]:
    headers = {"x-api-key": key} if key else {}
    return [httpx.get(f"{gateway.url}/{name}/x", headers=headers).status_code for name in ("pay", "refund", "open")]


def test_a_key_guards_all_apis_of_a_label(gateway: Gateway, upstream: Upstream) -> None:
    for document in (
        labelled("pay", upstream, team="payments"),
        labelled("refund", upstream, team="payments"),
        labelled("open", upstream, team="other"),
    ):
        gateway.deploy(document)
    assert statuses(gateway) == [200, 200, 200]
    with gateway.controller() as client:
        assert client.put("/v1/defaults/payments", json=defaults(FIRST)).status_code == 201
        eventually("both want a key", lambda: statuses(gateway) == [401, 401, 200])
        assert statuses(gateway, FIRST) == [200, 200, 200]
        own = httpx.get(f"{gateway.url}/pay/x", headers={"x-api-key": FIRST}).headers
        assert own["x-own"] == "pay", "the API's own policy runs behind it"
        gateway.deploy(labelled("refund", upstream, team="payments", tier="edge"))
        assert statuses(gateway) == [401, 401, 200]
        explained = subprocess.run(
            ["gatewright", "explain", "--api", "pay", "--run-dir", str(gateway.run_dir)],
            capture_output=True,
            text=True,
            check=True,
        )
        assert "Defaults payments: spec.policies.before[0]" in explained.stdout
        assert "Defaults payments, enforced" in explained.stdout
        assert client.put("/v1/defaults/payments", json=defaults(SECOND)).status_code == 200
        eventually("both want the other key", lambda: statuses(gateway, SECOND) == [200, 200, 200])
        assert statuses(gateway, FIRST) == [401, 401, 200]
        assert client.delete("/v1/defaults/payments").status_code == 204
        eventually("no key is wanted", lambda: statuses(gateway) == [200, 200, 200])


def test_no_other_team_publishes_in_a_namespace(gateway: Gateway, upstream: Upstream) -> None:
    (text,) = blocks(page("docs/how-to/namespaces.md"), "yaml")
    with gateway.controller() as client:
        assert client.put("/v1/namespaces/payments", json=yaml.safe_load(text)).status_code == 201
        refused = client.post("/v1/apis", json=labelled("payments", upstream, team="other"))
        assert (refused.status_code, "the Namespace payments wants" in refused.text) == (422, True)
        gateway.deploy(labelled("payments", upstream, team="payments"))
    assert httpx.get(f"{gateway.url}/payments/x").status_code == 200
