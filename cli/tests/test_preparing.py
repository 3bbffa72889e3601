from __future__ import annotations

import socket
from pathlib import Path

import pytest
from gatewright_cli import main, preparing
from gatewright_cli.preparing import Options, with_defaults
from gatewright_cli.starting import write_starter


def options(*arguments: str) -> Options:
    """What the command line makes of them."""
    return Options(**main.run.make_context("run", list(arguments)).params)


@pytest.fixture
def echo_port(monkeypatch: pytest.MonkeyPatch) -> int:
    """A free port, in place of the one that another run on this machine may have."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    monkeypatch.setattr(preparing, "ECHO_PORT", port)
    return port


def test_a_starters_apis_and_its_echo_go_without_saying(tmp_path: Path, echo_port: int) -> None:
    write_starter(tmp_path)
    manifest = ("--manifest", str(tmp_path / "build.yaml"))
    found = with_defaults(options(*manifest))
    assert (found.apis, found.with_echo) == (tmp_path / "apis", True)
    with socket.create_server(("127.0.0.1", echo_port)):
        assert with_defaults(options(*manifest)).with_echo is False


def test_an_upstream_of_ones_own_needs_no_echo(tmp_path: Path, echo_port: int) -> None:
    assert echo_port
    write_starter(tmp_path)
    api = tmp_path / "apis" / "hello.yaml"
    api.write_text(api.read_text().replace(preparing.DEFAULT_ECHO, "http://orders.internal"))
    found = with_defaults(options("--manifest", str(tmp_path / "build.yaml")))
    assert (found.apis, found.with_echo) == (tmp_path / "apis", False)


@pytest.mark.parametrize("more", [("--no-controller",), ("--build", "build/x")])
def test_what_has_no_use_for_the_apis_leaves_them_alone(tmp_path: Path, more: tuple[str, ...]) -> None:
    write_starter(tmp_path)
    found = with_defaults(options("--manifest", str(tmp_path / "build.yaml"), *more))
    assert (found.apis, found.with_echo) == (None, False)


def test_what_is_said_counts(tmp_path: Path) -> None:
    write_starter(tmp_path)
    (tmp_path / "others").mkdir()
    said = ("--apis", str(tmp_path / "others"), "--with-echo")
    found = with_defaults(options("--manifest", str(tmp_path / "build.yaml"), *said))
    assert (found.apis, found.with_echo) == (tmp_path / "others", True)


def test_an_api_that_cannot_be_read_is_said_later(tmp_path: Path) -> None:
    (tmp_path / "apis").mkdir()
    (tmp_path / "apis" / "bad.yaml").write_text("[")
    assert with_defaults(options("--manifest", str(tmp_path / "build.yaml"))).with_echo is False
