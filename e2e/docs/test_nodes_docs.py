"""The samples and commands of docs/how-to/nodes.md as they stand, but for ports, at a node of its own."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from e2e.docs.lone_controllers import Shell
from e2e.kit.gateway import Gateway, eventually, running
from e2e.kit.listening import free_port
from e2e.kit.markdown import blocks, page, section
from e2e.kit.upstream import Upstream

pytestmark = pytest.mark.timeout(180)
PAGE = page("docs/how-to/nodes.md")


def shown_commands(heading: str) -> list[str]:
    return [line for block in blocks(section(PAGE, heading), "sh") for line in block.splitlines()]


@pytest.fixture
def node(build: Path, tmp_path: Path) -> Iterator[Gateway]:
    """Started with the options of the page."""
    (command,) = shown_commands("Labels")
    words = shlex.split(command)
    assert words[:2] == ["gatewright", "run"]
    with running(build, tmp_path / "state", *words[2:]) as gateway:
        yield gateway


def test_the_shown_commands_work(node: Gateway, tmp_path: Path, upstream: Upstream) -> None:
    shell = Shell(tmp_path, {"gatewright node": f"GATEWRIGHT_RUN_DIR={node.run_dir} gatewright node",
                             "gatewright token": f"GATEWRIGHT_RUN_DIR={node.run_dir} gatewright token",
                             **{name: f"GATEWRIGHT_RUN_DIR={node.run_dir} {name}"
                                for name in ("gatewright apply", "gatewright get", "gatewright history")}})  # fmt: skip
    orders = yaml.safe_load(blocks(section(PAGE, "Which nodes run an API"), "yaml")[0])
    orders["spec"]["upstream"]["main"]["url"] = upstream.url
    node.deploy(orders)
    assert httpx.get(f"{node.url}/orders-eu/7").status_code == 200

    (create,) = shown_commands("Tokens for some nodes")
    assert shell.run(create).startswith("gatewright_")
    with node.controller() as client:
        (token,) = client.get("/v1/tokens").json()["tokens"]
    assert (token["role"], token["names"], token["labels"]) == ("node", ["eu-*"], {"zone": "eu"})

    listed, wide, shown, as_json = map(shell.run, shown_commands("See the nodes"))
    assert re.search(r"^eu-1 +tier=edge,zone=eu +serving .* 1 +0 +0$", listed, re.MULTILINE), listed
    assert "LACKS" in wide.splitlines()[0]
    assert re.search(r"^apis +1 deployed, 0 pending, 0 rejected$", shown, re.MULTILINE), shown
    assert json.loads(as_json)["labels"] == {"zone": "eu", "tier": "edge"}

    drain, undrain = shown_commands("Drain a node")
    assert re.fullmatch(r"eu-1 drained, by token since \S+: new kernel\n", shell.run(drain))
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{node.url}/orders-eu/7")
    assert shell.run(undrain) == "eu-1 serving\n"
    assert httpx.get(f"{node.url}/orders-eu/7").status_code == 200

    heading = "What nodes with a label listen on"
    port, inner = free_port(), free_port()
    text = blocks(section(PAGE, heading), "yaml")[0].replace("8081", str(port)).replace("8082", str(inner))
    (tmp_path / "eu.yaml").write_text(text)
    apply, get, history = shown_commands(heading)
    assert "NodeGateway eu created" in shell.run(apply)
    assert shell.run(f"{get.rpartition(' ')[0]} nodegateway eu -o name") == "eu\n"
    assert re.search(r"^eu +zone=eu +http,inner ", shell.run(get), re.MULTILINE)
    assert "created" in shell.run(history)

    def answers(at: int) -> bool:
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"http://127.0.0.1:{at}/orders-eu/7").status_code == 200
        return False

    eventually("the node listens as the NodeGateway says", lambda: answers(port) and answers(inner))
    eventually("and nowhere else", lambda: not answers(int(node.url.rpartition(":")[2])))
