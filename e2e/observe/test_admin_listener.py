"""Where a node answers who scrapes it: the Gateway says, `gatewright status` tells, and both change while it runs."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import httpx
import pytest
import yaml

from e2e.kit.gateway import eventually, running
from e2e.kit.listening import free_port, write
from e2e.kit.markdown import blocks, page
from e2e.kit.scraping import address, status

pytestmark = pytest.mark.timeout(120)
HTTP = {"name": "http"}


def answers(at: str, path: str = "/metrics") -> bool:
    try:
        return httpx.get(f"http://{at}{path}", timeout=10).status_code == 200
    except httpx.TransportError:
        return False


def test_it_moves_with_the_gateway_and_status_names_it(build: Path, tmp_path: Path) -> None:
    first, second = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    file = tmp_path / "gateway.yaml"
    write(file, HTTP, admin={"port": int(first.split(":")[1])})
    with running(build, tmp_path / "state", "--gateway", str(file)) as gateway:
        assert address(gateway) == first
        assert all(answers(first, path) for path in ("/metrics", "/healthz", "/ready"))
        assert not answers(first, "/stats"), "the admin socket's own answers are private"
        assert httpx.post(f"http://{first}/executors").status_code == 404
        assert status(gateway.run_dir)["metrics"] == f"http://{first}/metrics"
        command = ["gatewright", "status", "--run-dir", str(gateway.run_dir)]
        shown = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
        assert f"metrics http://{first}/metrics\n" in shown

        write(file, HTTP, admin={"port": int(second.split(":")[1])})
        assert gateway.reload().returncode == 0
        eventually("it has moved", lambda: address(gateway) == second)
        assert answers(second)
        assert not answers(first)

        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            write(file, HTTP, admin={"port": taken.getsockname()[1]})
            assert gateway.reload().returncode == 0
            eventually("it is said", lambda: gateway.logged(component="policy-engine", level="error"))
        (said,) = gateway.logged(component="policy-engine", level="error")
        assert "choose another spec.admin.port" in said["message"]
        assert address(gateway) == second
        assert answers(second)

        write(file, HTTP, admin={"enabled": False})
        assert gateway.reload().returncode == 0
        eventually("there is none", lambda: address(gateway) == "")
        assert not answers(second)
        assert status(gateway.run_dir)["metrics"] == ""


def test_an_option_goes_over_the_gateway(build: Path, tmp_path: Path) -> None:
    port = free_port()
    file = write(tmp_path / "gateway.yaml", HTTP, admin={"port": free_port()})
    with running(build, tmp_path / "state", "--gateway", str(file), "--admin-port", str(port)) as gateway:
        assert address(gateway) == f"127.0.0.1:{port}"


def test_two_nodes_of_a_machine_have_one_each(build: Path, tmp_path: Path) -> None:
    with running(build, tmp_path / "one") as one, running(build, tmp_path / "two") as two:
        assert address(one) != address(two)
        assert answers(address(one))
        assert answers(address(two))


def test_who_can_be_reached_from_elsewhere_is_warned(build: Path, tmp_path: Path) -> None:
    port = free_port("0.0.0.0")  # noqa: S104
    file = write(tmp_path / "gateway.yaml", HTTP, admin={"address": "0.0.0.0", "port": port})  # noqa: S104
    with running(build, tmp_path / "state", "--gateway", str(file), "--no-controller") as gateway:
        assert answers(f"127.0.0.1:{port}")
        (warning,) = gateway.logged(component="policy-engine", level="warning")
        assert "other machines" in warning["message"]


def test_the_page_about_it_is_true(build: Path, tmp_path: Path) -> None:
    """Its command prints the address, and its Gateways are served."""
    text = page("docs/how-to/metrics.md")
    (command,) = blocks(text, "sh")
    port = free_port()
    gateways = [yaml.safe_load(block) for block in blocks(text, "yaml") if "kind: Gateway" in block]
    assert len(gateways) == 2
    file = tmp_path / "gateway.yaml"
    first, second = (write(file, HTTP, **one["spec"]).read_text() for one in gateways)
    file.write_text(first.replace("9901", str(port)))
    with running(build, tmp_path / "state", "--gateway", str(file)) as gateway:
        command = command.replace("status", f"status --run-dir {gateway.run_dir}")
        printed = subprocess.run(["sh", "-c", command], stdout=subprocess.PIPE, text=True, check=True).stdout
        assert printed == f"http://127.0.0.1:{port}/metrics\n"
        assert printed.replace(str(port), "9901").strip() in text
        file.write_text(second)
        assert gateway.reload().returncode == 0
