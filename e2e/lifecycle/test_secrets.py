"""The secrets that an operator gives a run: the processes and files that have them, and the clients that need one."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from e2e.kit.gateway import Gateway, running

TOKEN = "the-operators-own-token"  # noqa: S105
SYSTEM = "never-in-an-environment"
GIVEN = {
    "GATEWRIGHT_CONTROLLER_TOKEN": TOKEN,
    "GATEWRIGHT_CONTROLLER_SYSTEM_PARAMETERS": f"{{answer: {{confided: {SYSTEM}}}}}",
}


def processes(root: int) -> Iterator[int]:
    """The process and all below it."""
    yield root
    for path in Path(f"/proc/{root}/task").glob("*/children"):
        for child in path.read_text().split():
            yield from processes(int(child))


@pytest.fixture(scope="module")
def gateway_with_secrets(build: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in GIVEN.items():
            patch.setenv(name, value)
        gateway = Gateway(build, tmp_path_factory.mktemp("state"))
    try:
        yield gateway.wait_ready()
    finally:
        gateway.stop()
    for name in ("management-token", "system-parameters.yaml", "inspector.html"):
        assert not (gateway.run_dir / name).exists()


def test_no_process_of_a_run_has_its_secrets_in_its_environment(gateway_with_secrets: Gateway) -> None:
    pids = list(processes(gateway_with_secrets.process.pid))
    started = {process["pid"] for process in gateway_with_secrets.status()["processes"]}
    assert started < set(pids), "those of the status, and the supervisor"
    environments = {pid: Path(f"/proc/{pid}/environ").read_bytes() for pid in pids}
    assert all(b"PATH=" in environment for environment in environments.values())
    for secret in (TOKEN, SYSTEM):
        assert [pid for pid, environment in environments.items() if secret.encode() in environment] == []
    assert [pid for pid in pids if SYSTEM.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()] == []


def test_the_operators_token_is_the_runs_and_no_other_is_taken(gateway_with_secrets: Gateway) -> None:
    url = f"http://{gateway_with_secrets.process_status('controller')['listen']}/v1/apis"
    assert httpx.get(url).status_code == 401
    assert httpx.get(url, headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200
    for name, content in (("management-token", TOKEN), ("system-parameters.yaml", SYSTEM), ("inspector.html", TOKEN)):
        file = gateway_with_secrets.run_dir / name
        assert content in file.read_text()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert gateway_with_secrets.status()["tokenFile"] == str(gateway_with_secrets.run_dir / "management-token")


def test_a_run_that_is_given_no_token_makes_one(gateway: Gateway) -> None:
    url = f"http://{gateway.process_status('controller')['listen']}"
    assert httpx.get(f"{url}/healthz").status_code == 200
    assert httpx.get(f"{url}/v1/apis").status_code == 401
    token = (gateway.run_dir / "management-token").read_text()
    assert len(token.strip()) >= 43, "256 bits"
    assert httpx.get(f"{url}/v1/apis", headers={"authorization": f"Bearer {token.strip()}"}).status_code == 200


def test_a_token_can_come_from_a_file(build: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    monkeypatch.setenv("GATEWRIGHT_CONTROLLER_TOKEN_FILE", str(tmp_path / "token"))
    with running(build, tmp_path / "state") as gateway:
        url = f"http://{gateway.process_status('controller')['listen']}/v1/apis"
        assert httpx.get(url, headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200
