"""`gatewright apply` against a gateway that runs: its output, its exit status, and the answers to clients."""

from __future__ import annotations

import subprocess
from pathlib import Path

import httpx
import yaml

from e2e.kit.commands import apply
from e2e.kit.gateway import Gateway, Json, api, attach
from e2e.kit.upstream import Upstream


def write_apis(folder: Path, *definitions: Json) -> Path:
    """Writes one file with all definitions."""
    path = folder / "apis.yaml"
    path.write_text(yaml.safe_dump_all(definitions, sort_keys=False))
    return path


def test_apis_are_created_changed_and_left_unchanged(gateway: Gateway, upstream: Upstream, tmp_path: Path) -> None:
    first, second = (
        api(name, upstream.url, [attach("mark", {"name": "first"})]) for name in ("applied-1", "applied-2")
    )
    result = apply(gateway, "-f", str(write_apis(tmp_path, first, second)))
    controller = f"http://{gateway.process_status('controller')['listen']}"
    run = f"the run of state directory {gateway.status()['stateDir']} (--run-dir {gateway.run_dir})"
    assert (result.returncode, result.stderr) == (0, f"writing to {controller}, {run}\n")
    assert result.stdout == "applied-1 created, deployed\napplied-2 created, deployed\n"
    assert httpx.get(f"{gateway.url}/applied-1/x").status_code == 200
    second["spec"]["policies"][0]["params"]["name"] = "second"
    result = apply(gateway, "-f", str(write_apis(tmp_path, first, second)))
    assert (result.returncode, result.stdout) == (0, "applied-1 unchanged, deployed\napplied-2 changed, deployed\n")
    upstream.reset()
    httpx.get(f"{gateway.url}/applied-2/x")
    assert "second" in str(upstream.received[0].headers)
    result = apply(gateway, "-f", "-", "--no-wait", text=yaml.safe_dump(first))
    assert (result.returncode, result.stdout) == (0, "applied-1 unchanged\n")


def test_mistakes_are_named_with_file_and_line_and_keep_all_out(
    gateway: Gateway, upstream: Upstream, tmp_path: Path
) -> None:
    good, bad = api("applied-3", upstream.url), api("applied-4", upstream.url, [attach("no-such-policy")])
    path = write_apis(tmp_path, good, bad)
    line = path.read_text().splitlines().index("  - name: no-such-policy") + 1
    result = apply(gateway, "-f", str(path))
    assert (result.returncode, result.stdout) == (1, "")
    with gateway.controller() as client:
        assert client.get("/v1/apis/applied-3").status_code == 404
    mistake = result.stderr.splitlines()[1]
    assert mistake.startswith(f"{path}:{line}: spec.policies[0].name: expected a policy of this build")


def test_an_api_that_cannot_serve_is_reported_with_its_reason(gateway: Gateway, tmp_path: Path) -> None:
    path = write_apis(tmp_path, api("applied-5", "http://nowhere.invalid:8080"))
    result = apply(gateway, "-f", str(path), "--timeout", "20s")
    with gateway.controller() as client:
        client.delete("/v1/apis/applied-5", params={"wait": "10"})
    assert result.returncode == 5
    assert result.stdout.startswith("applied-5 created, pending: ")
    assert "nowhere.invalid" in result.stdout


def test_a_controller_elsewhere_asks_for_its_token(gateway: Gateway, upstream: Upstream, tmp_path: Path) -> None:
    path = write_apis(tmp_path, api("applied-6", upstream.url))
    url = f"http://{gateway.process_status('controller')['listen']}"
    command = ["gatewright", "apply", "--controller", url, "-f", str(path)]
    refused = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (refused.returncode, refused.stdout) == (7, "")
    assert "401 expected the header 'Authorization: Bearer TOKEN'" in refused.stderr
    environment = {"GATEWRIGHT_CONTROLLER_TOKEN_FILE": str(gateway.run_dir / "management-token")}
    with_token = ["env", *(f"{name}={value}" for name, value in environment.items()), *command]
    result = subprocess.run(with_token, capture_output=True, text=True, check=False, timeout=60)
    assert (result.returncode, result.stdout) == (0, "applied-6 created, deployed\n")
