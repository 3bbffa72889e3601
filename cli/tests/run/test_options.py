from __future__ import annotations

import contextlib
import socket
from pathlib import Path

import pytest
from gatewright_cli.commands.run_command import run
from gatewright_cli.commands.starter import write_starter
from gatewright_cli.node.api_files import ApiFile, RefusedFile
from gatewright_cli.node.ports import ECHO_PORT, free_port
from gatewright_cli.run.options import Options, read_again, secrets_place, with_defaults


def options(*arguments: str) -> Options:
    """What the command line makes of them."""
    return Options(**run.make_context("run", list(arguments)).params)


@pytest.fixture
def free() -> int:
    return free_port("127.0.0.1")


def starter(folder: Path, upstream: str) -> tuple[str, str]:
    """A starter whose API has this upstream; answers the option that names its manifest."""
    write_starter(folder)
    api = folder / "apis" / "hello.yaml"
    text = api.read_text()
    assert "http://127.0.0.1:9091" in text
    api.write_text(text.replace("http://127.0.0.1:9091", upstream))
    return "--manifest", str(folder / "build.yaml")


def test_a_starters_apis_go_without_saying_and_its_echo_unless_somebody_has_the_port(tmp_path: Path) -> None:
    manifest = starter(tmp_path, f"http://127.0.0.1:{ECHO_PORT}")
    assert with_defaults(options(*manifest)).apis == tmp_path / "apis"
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # then another run on this machine has it
            stack.enter_context(socket.create_server(("127.0.0.1", ECHO_PORT)))
        assert with_defaults(options(*manifest)).with_echo is False


@pytest.mark.parametrize("upstream", ["http://127.0.0.1:PORT", "http://localhost:PORT", "http://127.0.0.1:PORT/base"])
def test_the_echo_starts_at_whatever_port_it_is_given(tmp_path: Path, free: int, upstream: str) -> None:
    manifest = starter(tmp_path, upstream.replace("PORT", str(free)))
    assert with_defaults(options(*manifest, "--echo-port", str(free))).with_echo is True
    with socket.create_server(("127.0.0.1", free)):
        assert with_defaults(options(*manifest, "--echo-port", str(free))).with_echo is False


@pytest.mark.parametrize(
    "upstream", ["http://orders.internal", "http://orders.internal:PORT", "https://127.0.0.1:PORT", "http://127.0.0.1"]
)
def test_an_upstream_of_ones_own_needs_no_echo(tmp_path: Path, free: int, upstream: str) -> None:
    manifest = starter(tmp_path, upstream.replace("PORT", str(free)))
    found = with_defaults(options(*manifest, "--echo-port", str(free)))
    assert (found.apis, found.with_echo) == (tmp_path / "apis", False)


def test_a_longer_port_is_another_one(tmp_path: Path) -> None:
    manifest = starter(tmp_path, "http://127.0.0.1:19091")
    assert with_defaults(options(*manifest)).with_echo is False


def test_files_that_name_the_echo_mean_the_port_that_it_has(tmp_path: Path, free: int) -> None:
    starter(tmp_path, f"http://127.0.0.1:{ECHO_PORT}")
    found = options("--with-echo", "--echo-port", str(free))
    (read,) = read_again(found, tmp_path / "apis" / "hello.yaml")
    assert isinstance(read, ApiFile)
    assert read.upstreams == (f"http://127.0.0.1:{free}",)
    (tmp_path / "bad.yaml").write_text("{")
    (bad,) = read_again(found, tmp_path / "bad.yaml")
    assert isinstance(bad, RefusedFile)


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


def test_a_file_that_cannot_be_read_keeps_no_echo_away(tmp_path: Path, free: int) -> None:
    manifest = starter(tmp_path, f"http://127.0.0.1:{free}")
    (tmp_path / "apis" / "bad.yaml").write_text("[")
    assert with_defaults(options(*manifest, "--echo-port", str(free))).with_echo is True


def test_secrets_are_beside_the_manifest_or_where_it_is_said(tmp_path: Path) -> None:
    manifest = ("--manifest", str(tmp_path / "build.yaml"))
    assert secrets_place(options(*manifest)) == tmp_path / "secrets", "expected a place even before the folder is there"
    assert secrets_place(options(*manifest, "--secrets", str(tmp_path / "other"))) == tmp_path / "other"
    assert secrets_place(options("--build", str(tmp_path))) is None
