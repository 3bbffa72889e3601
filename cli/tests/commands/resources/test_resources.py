"""`gatewright get`, `list`, `delete` and `wait`, against a real controller to which no node is connected."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
import yaml
from gatewright_cli.commands.resources.kinds import KINDS

from cli.tests.clients.test_management import API
from cli.tests.controller_process import TOKEN, Controller, controlling

if TYPE_CHECKING:
    from cli.tests.conftest import Invoke

SECRET = "key-of-ann-0123456789abcdef0123456789"  # noqa: S105
KEY_POLICY = (Path(__file__).parents[4] / "policies" / "api-key-auth" / "policy-definition.yaml").read_text()
GATEWAY = {
    "apiVersion": "gatewright.dev/v1",
    "kind": "Gateway",
    "spec": {"listeners": [{"name": "public", "port": 8443}]},
}


@pytest.fixture(scope="module")
def controller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controller]:
    folder = tmp_path_factory.mktemp("c")
    with controlling(folder, {"api-key-auth.yaml": KEY_POLICY}) as controller:
        yield controller


@pytest.fixture(autouse=True)
def named(controller: Controller, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The commands' controller, with the APIs `one` and `two` alone."""
    monkeypatch.setenv("GATEWRIGHT_CONTROLLER", controller.url)
    monkeypatch.setenv("GATEWRIGHT_CONTROLLER_TOKEN", TOKEN)
    with httpx.Client(base_url=controller.url, headers={"authorization": f"Bearer {TOKEN}"}) as client:
        for name in ("one", "two"):
            document = yaml.safe_load(API.replace("NAME", name))
            if name == "two":
                key = {"owner": "ann", "key": SECRET}
                document["spec"]["policies"] = [{"name": "api-key-auth", "version": "v1", "params": {"keys": [key]}}]
            assert client.post("/v1/apis", json=document).status_code == 201
        yield
        for api in client.get("/v1/apis").json()["apis"]:
            client.delete(f"/v1/apis/{api['metadata']['name']}")


def test_apis_as_tables(invoke: Invoke) -> None:
    done = invoke("get", "apis")
    assert (done.status, done.err) == (0, "")
    assert done.out == (
        "NAME  VERSION  CONTEXT    STATE    REASON\n"
        "one   v1.0     /one/v1.0  pending  no node is connected\n"
        "two   v1.0     /two/v1.0  pending  no node is connected\n"
    )
    assert invoke("list", "api") == done
    assert invoke("get", "api", "two").out.splitlines()[1:] == done.out.splitlines()[2:]
    heading, _, line = invoke("get", "apis", "-o", "wide").out.splitlines()
    assert heading.split() == [
        "NAME", "VERSION", "CONTEXT", "HOSTS", "LABELS", "OWNER", "REVISION", "UPDATED", "POLICIES", "STATE", "REASON",
    ]  # fmt: skip
    assert "api-key-auth:v1." in line


def test_names_are_those_that_other_commands_take(invoke: Invoke) -> None:
    assert invoke("get", "apis", "-o", "name").out == "one\ntwo\n"
    assert invoke("get", "apis", "--state", "pending", "-o", "name").out == "one\ntwo\n"
    assert invoke("list", "apis", "--state", "deployed", "-o", "name").out == ""
    assert invoke("get", "api", "two", "one", "-o", "name").out == "two\none\n", "expected the order of the names"


def test_apis_by_labels_and_owner(invoke: Invoke, controller: Controller) -> None:
    headers = {"authorization": f"Bearer {TOKEN}"}
    document = yaml.safe_load(API.replace("NAME", "one"))
    document["metadata"]["labels"] = {"team": "payments", "tier": "gold"}
    url = f"{controller.url}/v1/apis/one?owner=shop"
    assert httpx.put(url, json=document, headers=headers).status_code == 200
    for options, names in (
        (("--label", "team=payments"), "one\n"),
        (("--label", "team", "--label", "tier=gold", "--owner", "shop"), "one\n"),
        (("--label", "team=search"), ""),
        (("--owner", "nil"), ""),
    ):
        assert invoke("get", "apis", *options, "-o", "name").out == names, options
    assert "team=payments,tier=gold  shop" in invoke("list", "apis", "-o", "wide").out
    refused = invoke("get", "apis", "--label", "a b")
    assert (refused.status, "expected label to be KEY=VALUE or KEY" in refused.err) == (1, True), refused.err


def test_json_has_an_object_for_one_name_and_an_array_otherwise(invoke: Invoke) -> None:
    api = json.loads(invoke("get", "api", "one", "-o", "json").out)
    assert (api["metadata"]["name"], api["status"]["state"]) == ("one", "pending")
    both = json.loads(invoke("get", "apis", "-o", "json").out)
    assert (both[0], len(both)) == (api, 2)
    assert json.loads(invoke("get", "api", "one", "two", "-o", "json").out) == both


def test_yaml_is_applied_again_without_a_change(invoke: Invoke, tmp_path: Path) -> None:
    """Secrets are masked, and a mask stands for the secret that is stored."""
    got = invoke("get", "apis", "-o", "yaml").out
    assert SECRET not in got
    assert [document["metadata"]["name"] for document in yaml.safe_load_all(got)] == ["one", "two"]
    assert "status" not in got
    file = tmp_path / "apis.yaml"
    file.write_text(got)
    before = json.loads(invoke("get", "apis", "-o", "json").out)
    assert invoke("apply", "-f", file, "--no-wait").out == "one unchanged\ntwo unchanged\n"
    assert json.loads(invoke("get", "apis", "-o", "json").out) == before
    file.write_text(got.replace("method: GET", "method: POST", 1))
    assert invoke("apply", "-f", file, "--no-wait").out == "one changed\ntwo unchanged\n"


def test_policies_and_nodes(invoke: Invoke) -> None:
    assert invoke("get", "policies").out.splitlines()[1].startswith("api-key-auth  v1.")
    (name,) = invoke("get", "policies", "-o", "name").out.split()
    assert name.startswith("api-key-auth:v1.")
    for asked in ("api-key-auth", name):
        assert json.loads(invoke("get", "policy", asked, "-o", "json").out)["name"] == "api-key-auth"
    missing = invoke("get", "policy", "quota")
    assert (missing.status, missing.err) == (3, f"error: expected a policy ({name}), got 'quota': correct the name\n")
    assert invoke("get", "nodes").out == "NAME  LABELS  STATE  CONNECTED  GATEWAY  APIS  PENDING  REJECTED\n"
    assert invoke("get", "nodes", "-o", "json").out == "[]\n"
    assert invoke("get", "nodes", "-o", "yaml").out == ""
    missing = invoke("get", "node", "eu/1")
    assert (missing.status, missing.err) == (3, "error: 404 no node eu/1 is connected; those that are: none\n")


def test_the_gateway_is_one_and_has_no_name(invoke: Invoke, controller: Controller) -> None:
    missing = invoke("get", "gateway")
    assert (missing.status, missing.out) == (3, "")
    assert missing.err.startswith("error: 404 no Gateway was written here")
    headers = {"authorization": f"Bearer {TOKEN}"}
    assert httpx.put(f"{controller.url}/v1/gateway", json=GATEWAY, headers=headers).status_code == 200
    assert invoke("get", "gateway").out.splitlines()[1].split()[:3] == ["gateway", "api", "public"]
    written = yaml.safe_load(invoke("get", "gateway", "-o", "yaml").out)
    again = httpx.put(f"{controller.url}/v1/gateway", json=written, headers=headers).json()["status"]["change"]
    assert again == {"added": [], "changed": [], "removed": [], "restart": []}
    assert invoke("wait", "gateway", "--for", "deleted", "--timeout", "0s").status == 5
    assert invoke("delete", "gateway", "--no-wait").out == "gateway deleted\n"
    assert invoke("wait", "gateway", "--for", "deleted").out == "gateway deleted\n"
    assert invoke("delete", "gateway").status == 3


def test_the_help_of_get_names_every_kind(invoke: Invoke) -> None:
    sentence = " ".join(invoke("get", "--help").out.partition("KIND is ")[2].split(".")[0].split())
    assert sorted(re.split(r", or |, | or ", sentence)) == sorted(["its plural", *(kind.name for kind in KINDS)])


def test_a_file_that_is_not_there_is_named(invoke: Invoke) -> None:
    done = invoke("get", "files", "nosuch.yaml")
    assert (done.status, done.err) == (3, "error: expected a file (none), got 'nosuch.yaml': correct the name\n")


def test_names_that_are_there_are_printed_beside_those_that_are_not(invoke: Invoke) -> None:
    status, out, err = invoke("get", "api", "none", "one", "nil", "-o", "name")
    assert (status, out) == (3, "one\n")
    assert err == (
        "error: 404 there is no API none; POST /v1/apis creates one\n"
        "error: 404 there is no API nil; POST /v1/apis creates one\n"
    )


def test_apis_are_deleted_one_by_one(invoke: Invoke, controller: Controller) -> None:
    status, out, err = invoke("delete", "api", "one", "none", "two", "one", "--reason", "no longer used")
    assert (status, out) == (3, "one deleted\ntwo deleted\n")
    assert err == f"writing to {controller.url}\nerror: 404 there is no API none; POST /v1/apis creates one\n"
    assert invoke("get", "apis", "-o", "name").out == ""
    assert "no longer used" in invoke("history", "one").out


def test_an_api_is_deleted_only_at_the_revision_that_is_named(invoke: Invoke) -> None:
    revision = json.loads(invoke("get", "api", "one", "-o", "json").out)["status"]["revision"]
    status, out, err = invoke("delete", "api", "one", "--revision", str(revision + 1))
    assert (status, out) == (4, "")
    assert f"it has revision {revision}" in err
    assert invoke("delete", "api", "one", "--revision", str(revision)).out == "one deleted\n"


def test_a_wait_that_runs_out_names_the_reason(invoke: Invoke) -> None:
    status, out, err = invoke("wait", "api", "one", "--for", "deployed", "--timeout", "10ms")
    assert (status, out) == (5, "")
    assert err == "error: one is not deployed: pending: no node is connected\n"
    status, out, err = invoke("wait", "api", "one", "none", "--for", "deleted", "--timeout", "10ms")
    assert (status, out) == (5, "none deleted\n")
    assert err == "error: one is not deleted: the controller still has it\n"
    assert invoke("wait", "api", "none", "--for", "deployed").status == 3


@pytest.mark.parametrize(("arguments", "expected"), [
    (
        ("get", "routes"),
        "expected api, consumer, defaults, file, gateway, namespace, nodegateway, plan, secret, node, policy, got 'rou",
    ),
    (
        ("delete", "node", "a"),
        "expected api, consumer, defaults, gateway, namespace, nodegateway, plan, secret, got 'node'",
    ),
    (("delete", "apis"), "expected NAME of at least one api, got none"),
    (("get", "gateway", "x"), "expected no NAME, since a controller has one gateway, got 'x'"),
    (("wait", "gateway", "x", "--for", "deleted"), "expected no NAME"),
    (("get", "nodes", "--state", "pending"), "--state: expected it with apis, got nodes"),
    (("get", "api", "one", "--state", "pending"), "expected NAME or --state, got both"),
    (("get", "gateway", "--label", "team"), "--label: expected it with apis, got gateways"),
    (("list", "policies", "--owner", "shop"), "--owner: expected it with apis, got policies"),
    (("get", "api", "one", "--owner", "shop"), "expected NAME or --owner, got both"),
    (("delete", "api", "one", "two", "--revision", "1"), "--revision: expected one NAME with it, got 2"),
    (("wait", "api", "one"), "Missing option '--for'"),
])  # fmt: skip
def test_usage_mistakes_exit_with_2(invoke: Invoke, arguments: tuple[str, ...], expected: str) -> None:
    status, out, err = invoke(*arguments)
    assert (status, out) == (2, "")
    assert expected in err
