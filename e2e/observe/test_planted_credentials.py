"""What clients of the management API and of the gateway prove themselves by is in nothing that a run leaves behind."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from e2e.kit.gateway import Gateway, Json, api, attach, running
from e2e.kit.upstream import Upstream

pytestmark = pytest.mark.timeout(180)
OPERATOR, COLLECTOR, PARTNER, KEY = (
    f"planted-{word}-Kx81Lq77Zw" for word in ("operator", "collector", "partner", "key")
)
JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJwbGFudGVkLUt4ODFMcTc3WncifQ.cGxhbnRlZC1zaWduYXR1cmU"
PARAMETER = "planted-parameter-Kx81Lq77Zw"
IN_DATABASE = {"collector": COLLECTOR, "parameter": PARAMETER}
"""Part of documents that are stored as they are written: shown masked, and as safe as the database is."""
OF_THE_OPERATOR = ("management-token", "inspector.html", "gateway.json", "gateway.binpb")
"""Files in the run directory for the operator alone, which are gone with the run."""


@pytest.fixture
def gateway(build: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    monkeypatch.setenv("GATEWRIGHT_CONTROLLER_TOKEN", OPERATOR)
    with running(build, tmp_path / "state", "--log-level", "debug") as gateway:
        yield gateway


def command(gateway: Gateway, *arguments: str) -> str:
    """What it prints, on both streams."""
    words = ["gatewright", *arguments, "--run-dir", str(gateway.run_dir)]
    result = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 0, result.stderr
    return result.stdout + result.stderr


def with_collector(token: str) -> Json:
    return {
        "apiVersion": "gatewright.dev/v1",
        "kind": "Gateway",
        "spec": {
            "listeners": [{"name": "main", "port": 0}],
            "redaction": {"headers": ["X-Partner-Secret"]},
            "logs": {"collector": "127.0.0.1:9", "headers": {"token": token}},
        },
    }


def write_everything(gateway: Gateway, upstream: Upstream, folder: Path) -> tuple[str, list[str]]:
    """A token's text, and what commands and the management API have answered."""
    token = command(gateway, "token", "create", "ci", "--role", "publisher").splitlines()[0]
    token = next(word for word in [*token.split(), token] if word.startswith("gatewright_"))
    file, texts = folder / "orders.yaml", []
    for number in range(2):
        policies = [attach("leak", {"password": f"{PARAMETER}{number}"})]
        file.write_text(yaml.safe_dump(api("orders", upstream.url, policies)))
        texts.append(command(gateway, "plan", "-f", str(file), "--diff"))
        texts.append(command(gateway, "apply", "-f", str(file), "--reason", f"change {number}"))
    with gateway.controller() as management:
        current = management.get("/v1/gateway").json()
        document = with_collector(COLLECTOR)
        document["spec"]["listeners"] = current["spec"]["listeners"]
        written = management.put("/v1/gateway", json=document)
        assert written.status_code == 200, written.text
        texts.append(written.text)
        url = management.base_url
    for credential in (JWT, f"{token}x"):
        refused = httpx.get(f"{url}/v1/apis", headers={"authorization": f"Bearer {credential}"})
        assert refused.status_code == 401
        texts.append(refused.text)
    assert httpx.delete(f"{url}/v1/tokens/ci", headers={"authorization": f"Bearer {token}"}).status_code == 403
    return token, texts


def test_credentials_are_in_nothing_that_a_run_leaves(gateway: Gateway, upstream: Upstream, tmp_path: Path) -> None:
    token, texts = write_everything(gateway, upstream, tmp_path)
    texts.append(command(gateway, "record", "--seconds", "60"))
    headers = {"authorization": f"Bearer {JWT}", "x-api-key": KEY, "x-partner-secret": PARTNER}
    assert httpx.get(f"{gateway.url}/orders/x", headers=headers).status_code == 200
    recorded = tmp_path / "recorded"
    for arguments in (
        ("tail", "--kept"),
        ("record", str(recorded), "--kept"),
        ("explain", "--last"),
        ("history", "orders", "-o", "json"),
        ("diff", "orders@-1"),
        ("history", "gateway/gateway", "-o", "json"),
        ("audit", "--changes"),
        ("audit", "--changes", "-o", "json"),
        ("get", "apis", "-o", "yaml"),
        ("get", "gateway", "-o", "yaml"),
        ("token", "list"),
        ("whoami",),
    ):
        texts.append(command(gateway, *arguments))
    saved = [file.read_text() for file in recorded.iterdir()]
    assert saved, "an exchange was recorded"
    public = [path for path in gateway.run_dir.iterdir() if path.is_file() and path.name not in OF_THE_OPERATOR]
    texts += [*saved, *(path.read_text(errors="replace") for path in public)]
    texts += ["\n".join(gateway.log), "\n".join(gateway.printed)]
    secrets = {"operator": OPERATOR, "token": token, "jwt": JWT, "key": KEY, "partner": PARTNER}
    for name, secret in (secrets | IN_DATABASE).items():
        assert [text for text in texts if secret in text] == [], name
    database = [path.read_bytes() for path in (tmp_path / "state").glob("controller.db*")]
    assert any(b"SQLite" in content for content in database)
    for name, secret in secrets.items():
        assert not any(secret.encode() in content for content in database), name
    gateway.stop()
    for path in (tmp_path / "state").rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        assert [name for name, secret in secrets.items() if secret.encode() in content] == [], path
