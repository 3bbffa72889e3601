"""Which processes may connect, by the file that the supervisor writes: conformance/messages/peers.json is one."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest
from gatewright_executor.grpc import peers

GOLDEN = json.loads((Path(__file__).parents[3] / "conformance" / "messages" / "peers.json").read_text())


def refusal(file: Path, content: str) -> str | None:
    """The result for this process, which connects to itself."""
    file.write_text(content)
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        return peers.refusal(ours, file)


@pytest.mark.parametrize(
    ("role", "admitted"), [("engine", True), ("engine.2", True), ("supervisor", True), ("envoy", False)]
)
def test_engine_and_supervisor_are_admitted(tmp_path: Path, role: str, admitted: bool) -> None:
    assert role.partition(".")[0] in GOLDEN
    why = refusal(tmp_path / "peers.json", json.dumps(GOLDEN | {role: os.getpid()}))
    assert why == (None if admitted else f"pid {os.getpid()}: expected the engine or the supervisor")


@pytest.mark.parametrize("content", ["", "{", "{}"])
def test_an_invalid_file_allows_no_process_to_connect(tmp_path: Path, content: str) -> None:
    why = refusal(tmp_path / "peers.json", content)
    assert why is not None
    assert why.startswith(f"pid {os.getpid()}: ")


def test_without_the_file_no_process_may_connect(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        assert "No such file" in str(peers.refusal(ours, tmp_path / "none.json"))
