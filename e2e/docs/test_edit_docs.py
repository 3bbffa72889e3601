"""The edits of docs/how-to/apis.md by its own commands: as YAML, as a dry run, and with two writers."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from e2e.kit.commands import apply
from e2e.kit.gateway import Gateway, Json, api, attach, credentials
from e2e.kit.markdown import commands, page
from e2e.kit.upstream import Upstream

NAME = "orders-v1"
PAGE = "docs/how-to/apis.md"
SHOWN = {"GET": "accept: application/yaml", "PUT": "dry_run=true"}


@pytest.fixture
def orders(gateway: Gateway, upstream: Upstream) -> Iterator[Json]:
    definition = api(NAME, upstream.url, [attach("mark", {"name": "first"})])
    with gateway.controller() as client:
        assert client.post("/v1/apis", params={"wait": "20"}, json=definition).status_code == 201
        yield definition
        client.delete(f"/v1/apis/{NAME}", params={"wait": "10"})


def run_shown_command(gateway: Gateway, method: str, body: bytes = b"", **more: str) -> httpx.Response:
    """Sends the request of the page's command; its answer."""
    (command,) = (command for command in commands(page(PAGE), "curl") if SHOWN[method] in command)
    words = shlex.split(command)
    (url,) = (word for word in words if word.startswith("http"))
    headers = dict(word.split(": ", 1) for word in words if re.match("(accept|content-type): ", word))
    assert ("-X PUT" in command, "--data-binary" in words) == (method == "PUT", method == "PUT")
    address = str(gateway.process_status("controller")["listen"])
    url = url.replace("127.0.0.1:9090", address)
    headers |= credentials(gateway.run_dir) | more
    return httpx.request(method, url, content=body, headers=headers, timeout=30)


def test_an_edit_is_a_get_a_change_and_a_put(gateway: Gateway, orders: Json, upstream: Upstream) -> None:
    read = run_shown_command(gateway, "GET")
    text = read.text
    assert yaml.safe_load(text)["spec"] == orders["spec"]
    assert run_shown_command(gateway, "PUT", text.encode()).json()["status"]["change"]["kind"] == "unchanged"
    changed = text.replace("first", "second").encode()
    status = run_shown_command(gateway, "PUT", changed).json()["status"]
    assert status.keys() == {"policies", "change"}
    rows = page(PAGE).partition("| in `status` | |")[2].partition("\n\n")[0]
    named = [name.removeprefix("change.") for name in re.findall(r"^\| `([a-z.]+)` \|", rows, re.MULTILINE)]
    assert named == ["policies", *status["change"]]
    assert re.search(r"^-.*first\n\+.*second$", status["change"]["diff"], re.MULTILINE)
    upstream.reset()
    httpx.get(f"{gateway.url}/{NAME}/x")
    assert "first" in str(upstream.received[0].headers)

    with gateway.controller() as client:
        mine = {"content-type": "application/yaml", "if-match": read.headers["etag"]}
        written = client.put(f"/v1/apis/{NAME}", params={"wait": "20"}, content=changed, headers=mine)
        assert written.json()["status"]["state"] == "deployed"
        late = client.put(f"/v1/apis/{NAME}", content=text, headers=mine)
        assert (late.status_code, late.json()["revision"]) == (412, written.json()["status"]["revision"])
    upstream.reset()
    httpx.get(f"{gateway.url}/{NAME}/x")
    assert "second" in str(upstream.received[0].headers)


def test_apply_prints_the_change(gateway: Gateway, orders: Json, tmp_path: Path) -> None:
    (command,) = (command for command in commands(page(PAGE), "gatewright apply") if "--dry-run" in command)
    _, _, *options = shlex.split(command)
    assert options == ["-f", "orders.yaml", "--dry-run"]
    path = tmp_path / "orders.yaml"
    orders["spec"]["policies"][0]["params"]["name"] = "second"
    path.write_text(yaml.safe_dump(orders))
    result = apply(gateway, "-f", str(path), "--dry-run")
    assert result.returncode == 0, result.stderr
    where, mistakes = result.stderr.splitlines()[0], result.stderr.splitlines()[1:]
    assert where.startswith("comparing with http://")
    assert mistakes == []
    assert result.stdout.startswith(f"{NAME} would be changed\n--- {NAME} of revision ")
    path.write_text(path.read_text().replace("mark", "no-such-policy"))
    refused = apply(gateway, "-f", str(path), "--dry-run")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.splitlines()[1].startswith(f"{path}:")
