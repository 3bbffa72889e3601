"""The admin listener of a node: the Gateway sets it, `gatewright status` shows it, and both change while it runs."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from e2e.kit.gateway import Gateway, api, eventually, running
from e2e.kit.gateway_settings import change_settings
from e2e.kit.listening import free_port
from e2e.kit.markdown import blocks, page
from e2e.kit.scraping import address, status

pytestmark = pytest.mark.timeout(120)


def answers(at: str, path: str = "/metrics") -> bool:
    try:
        return httpx.get(f"http://{at}{path}", timeout=10).status_code == 200
    except httpx.TransportError:
        return False


def listen(gateway: Gateway, **admin: object) -> str:
    """The address of the admin listener after a change of `spec.admin`, "" if there is none."""
    change_settings(gateway, admin=admin)
    port = str(admin.get("port", ""))
    eventually(f"it is at {port or 'no port'}", lambda: address(gateway).rpartition(":")[2] == port)
    return f"127.0.0.1:{port}" if port else ""


@pytest.fixture(scope="module")
def node(build: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway whose admin listener tests change."""
    with running(build, tmp_path_factory.mktemp("node")) as gateway:
        yield gateway


def test_the_admin_listener_moves_with_the_gateway_and_status_names_it(node: Gateway) -> None:
    first = listen(node, port=free_port())
    assert all(answers(first, path) for path in ("/metrics", "/healthz", "/ready"))
    assert not answers(first, "/stats"), "the admin socket's own answers are private"
    assert httpx.post(f"http://{first}/executors").status_code == 404
    assert status(node.run_dir)["metrics"] == f"http://{first}/metrics"
    command = ["gatewright", "status", "--run-dir", str(node.run_dir)]
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    assert f"metrics http://{first}/metrics\n" in output

    second = listen(node, port=free_port())
    assert answers(second)
    assert not answers(first)

    assert listen(node, enabled=False) == ""
    assert not answers(second)
    assert status(node.run_dir)["metrics"] == ""


def test_a_taken_port_is_reported_and_the_admin_listener_stays(node: Gateway) -> None:
    before = listen(node, port=free_port())
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        change_settings(node, wait=False, admin={"port": taken.getsockname()[1]})
        eventually("the log has the error", lambda: node.find_records(component="policy-engine", level="error"))
    (record,) = node.find_records(component="policy-engine", level="error")
    assert "choose another spec.admin.port" in record["message"]
    assert address(node) == before
    assert answers(before)


def test_an_api_whose_upstream_is_the_admin_listener_is_rejected(node: Gateway) -> None:
    port = free_port()
    listen(node, port=free_port())
    node.deploy(api("caught", f"http://127.0.0.1:{port}"))
    with node.controller() as controller:

        def became(state: str) -> bool:
            status = controller.get("/v1/apis/caught/status").json()
            return bool(status["state"] == state)

        listen(node, port=port)
        eventually("it is rejected", lambda: became("rejected"))
        assert "a private port of the gateway itself" in controller.get("/v1/apis/caught/status").json()["reason"]
        listen(node, port=free_port())
        eventually("it is deployed", lambda: became("deployed"))
    node.remove("caught")


def test_each_node_of_a_machine_has_its_own_admin_port(build: Path, gateway: Gateway, tmp_path: Path) -> None:
    """Neither node was given a port."""
    with running(build, tmp_path / "another") as another:
        assert address(gateway) != address(another)
        assert answers(address(gateway))
        assert answers(address(another))


def test_an_address_reachable_from_elsewhere_is_warned_about(node: Gateway) -> None:
    port = free_port("0.0.0.0")  # noqa: S104
    listen(node, address="0.0.0.0", port=port)  # noqa: S104
    assert answers(f"127.0.0.1:{port}")

    def warnings() -> list[str]:
        return [record["message"] for record in node.find_records(component="policy-engine", level="warning")]

    eventually("the log has a warning", lambda: any("other machines" in warning for warning in warnings()))


def test_the_page_about_the_admin_listener_is_true(node: Gateway) -> None:
    """The page's command prints the address, and its Gateways are served."""
    text = page("docs/how-to/metrics.md")
    (command,) = blocks(text, "sh")
    gateways = [yaml.safe_load(block) for block in blocks(text, "yaml") if "kind: Gateway" in block]
    assert len(gateways) == 2
    admin, metrics = gateways[0]["spec"]["admin"], gateways[1]["spec"]
    here = listen(node, **{**admin, "port": free_port()})
    command = command.replace("status", f"status --run-dir {node.run_dir}")
    printed = subprocess.run(["sh", "-c", command], stdout=subprocess.PIPE, text=True, check=True).stdout
    assert printed == f"http://{here}/metrics\n"
    assert printed.replace(here, f"127.0.0.1:{admin['port']}").strip() in text
    change_settings(node, **metrics)
