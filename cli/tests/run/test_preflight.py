from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from gatewright_cli.mistakes import PreflightError
from gatewright_cli.node.listeners.ports import Place, free_port
from gatewright_cli.run.preflight import StateDir, check, port_mistakes

from cli.tests.run.test_options import options


def test_every_taken_port_is_named_with_its_option() -> None:
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:
        taken = [server.getsockname()[1] for server in (first, second)]
        listeners = {"--port": Place("127.0.0.1", taken[0]), "--echo-port": Place("127.0.0.1", taken[1])}
        mistakes = list(port_mistakes(listeners))
    assert [
        mistake.startswith(f"port {port} on 127.0.0.1 is taken (by ")
        for mistake, port in zip(mistakes, taken, strict=True)
    ]
    assert [mistake.rpartition(" ")[2] for mistake in mistakes] == ["--port", "--echo-port"]


def test_one_port_for_two() -> None:
    port = free_port("127.0.0.1")
    listeners = {"--port": Place("127.0.0.1", port), "--echo-port": Place("127.0.0.1", port)}
    assert list(port_mistakes(listeners)) == [f"--port and --echo-port are both {port}: choose different ones"]


def test_a_port_of_udp_that_is_taken_is_named_with_its_owner() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        with socket.create_server(("127.0.0.1", 0)) as of_tcp:  # a port that is free for TCP
            port = of_tcp.getsockname()[1]
            taken.bind(("127.0.0.1", port))
        assert list(port_mistakes({"--port": Place("127.0.0.1", port)})) == []
        (mistake,) = port_mistakes({"--port": Place("127.0.0.1", port, udp=True)})
    assert mistake.startswith(f"UDP port {port} on 127.0.0.1 is taken (by ")
    assert f"pid {os.getpid()})" in mistake
    assert mistake.endswith("choose another with --port")


def test_a_state_directory_belongs_to_one_node(tmp_path: Path) -> None:
    first = StateDir.open(tmp_path / "state")
    with pytest.raises(PreflightError, match=rf"is in use \(by gatewright, pid {os.getpid()}\)"):
        StateDir.open(tmp_path / "state")
    first.close()
    StateDir.open(tmp_path / "state").close()


def test_a_state_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PreflightError, match="Not a directory: choose another with --state-dir"):
        StateDir.open(tmp_path / "file" / "state")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("TENANT=blue", "--pass-env: expected the name of a variable, got 'TENANT=blue'"),
        ("NO_SUCH_TENANT", "--pass-env: expected a variable that is set, got NO_SUCH_TENANT"),
        ("GATEWRIGHT_CONTROLLER_TOKEN", "--pass-env: expected a variable that policies may read, got GATEWRIGHT_"),
    ],
)
def test_a_variable_that_cannot_be_passed_is_a_mistake(
    name: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWRIGHT_CONTROLLER_TOKEN", "t")
    run_options = options(
        "--port", str(free_port("127.0.0.1")), "--no-controller", "--pass-env", name, "--pass-env", "PATH"
    )
    with pytest.raises(PreflightError) as found:
        check(run_options, [])
    (mistake,) = [text for text in found.value.mistakes if "--pass-env" in text]
    assert mistake.startswith(expected)


def test_labels_of_another_form_are_a_mistake() -> None:
    labels = ("zone=eu", "zone=us", "Tier=edge", "team=a b")
    run_options = options("--no-controller", *(word for label in labels for word in ("--node-label", label)))
    with pytest.raises(PreflightError) as found:
        check(run_options, [])
    assert [text for text in found.value.mistakes if text.startswith("--node-label")] == [
        "--node-label: expected one value of the label zone, got eu and us: leave one out",
        "--node-label: expected 1 to 63 letters, digits and inner '-', '.' and '_', as 'payments', got 'a b'",
        "--node-label: expected 1 to 63 lower-case letters, digits and inner '-', '.' and '/', as 'team', got 'Tier'",
    ]


def test_a_certificate_of_the_controller_that_cannot_be_used_is_a_mistake(tmp_path: Path) -> None:
    run_options = options(
        "--port", str(free_port("127.0.0.1")), "--controller-port", str(free_port("127.0.0.1")),
        "--controller-tls-certificate", str(tmp_path / "none"), "--controller-tls-key", str(tmp_path / "none"),
    )  # fmt: skip
    with pytest.raises(PreflightError) as found:
        check(run_options, [])
    expected = f"the controller's certificate: {tmp_path}/none: expected a file that can be read"
    assert any(mistake.startswith(expected) for mistake in found.value.mistakes), found.value.mistakes
