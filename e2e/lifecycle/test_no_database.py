"""A start without the controller's database: the node serves its last good state, and reports the trouble."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from e2e.kit import full_disk
from e2e.kit.gateway import Gateway, api, eventually, running
from e2e.kit.listening import free_port
from e2e.kit.upstream import Upstream

PAGES = 512
FULL = "the controller cannot open its database: the disk is full ("
DAMAGED = "/controller.db is damaged: file is not a database"
Undo = Callable[[], object]


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """A state directory, on a disk of its own where there can be one."""
    state = tmp_path / "state"
    state.mkdir()
    with ExitStack() as stack:
        if not full_disk.skip_reason():
            stack.enter_context(full_disk.small_disk(state, PAGES))
        yield state


def damage(state: Path) -> Undo:
    database, kept_copy = state / "controller.db", state / "kept"
    database.rename(kept_copy)
    database.write_text("no database" * 100)
    return lambda: kept_copy.replace(database)


def fill(state: Path) -> Undo:
    if reason := full_disk.skip_reason():
        pytest.skip(reason)
    return full_disk.fill(state).unlink


def status(gateway: Gateway) -> tuple[int, list[str], str]:
    """`gatewright status`: its exit status, the shortcomings, and its output for people."""
    command = ["gatewright", "status", "--run-dir", str(gateway.run_dir)]
    result = subprocess.run([*command, "--json"], capture_output=True, text=True, timeout=60, check=False)
    table = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return result.returncode, json.loads(result.stdout)["shortcomings"], table.stdout


@pytest.mark.parametrize(("spoil", "reason"), [(damage, DAMAGED), (fill, FULL)])
def test_a_node_whose_controller_cannot_open_its_database_serves_its_last_good_state(
    build: Path, stored_state: Path, state: Path, tmp_path: Path, upstream: Upstream,
    spoil: Callable[[Path], Undo], reason: str,
) -> None:  # fmt: skip
    shutil.copytree(stored_state, state, dirs_exist_ok=True)
    undo = spoil(state)
    file = tmp_path / "filed.json"
    file.write_text(json.dumps(api("filed", upstream.url)))
    with running(build, state, "--apis", str(file), "--admin-port", str(admin := free_port())) as gateway:
        assert httpx.get(f"{gateway.url}/kept/x").status_code == 200
        gateway.wait_printed("  degraded the controller cannot open its database: ")
        gateway.wait_printed(reason)
        code, shortcomings, table = status(gateway)
        assert (code, len(shortcomings)) == (3, 1)
        assert reason in shortcomings[0]
        assert table.startswith("degraded: the controller cannot open its database: ")
        assert httpx.get(f"http://127.0.0.1:{admin}/ready").status_code == 200, "clients feel nothing of it"
        assert "gatewright_controller_database_open 0\n" in httpx.get(f"http://127.0.0.1:{admin}/metrics").text
        with gateway.controller() as client:
            answer = client.post("/v1/apis", json=api("third", upstream.url))
            assert (answer.status_code, reason in answer.json()["detail"]) == (503, True)
        undo()
        eventually("the controller has it again", lambda: status(gateway)[:2] == (0, []))
        assert httpx.get(f"{gateway.url}/kept/x").status_code == 200
        assert httpx.get(f"{gateway.url}/filed/x").status_code == 200
        assert "gatewright_controller_database_open 1\n" in httpx.get(f"http://127.0.0.1:{admin}/metrics").text


def test_a_first_start_without_a_database_is_refused(build: Path, state: Path) -> None:
    (state / "controller.db").write_text("no database" * 100)
    command = ["gatewright", "run", "--build", str(build), "--port", "0", "--controller-port", "0"]
    result = subprocess.run(
        [*command, "--state-dir", str(state)], capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 1
    assert DAMAGED in result.stderr
