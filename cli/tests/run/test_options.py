from __future__ import annotations

import contextlib
import shutil
import socket
from pathlib import Path

import pytest
from gatewright_cli.api_files import ApiFile, RefusedFile
from gatewright_cli.commands.run_command import run
from gatewright_cli.commands.scaffold.starter import write_starter
from gatewright_cli.node.listeners.ports import ECHO_PORT, free_port
from gatewright_cli.run.options import Options, controller_tls, read_again, secrets_place, with_defaults


def options(*arguments: str) -> Options:
    """What the command line makes of them."""
    return Options(**run.make_context("run", list(arguments)).params)


@pytest.fixture
def free() -> int:
    return free_port("127.0.0.1")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `gatewright init` writes, to be copied."""
    folder = tmp_path_factory.mktemp("starter")
    write_starter(folder)
    return folder


@pytest.fixture
def project(tmp_path: Path, written: Path) -> Path:
    """A starter of the test's own."""
    return shutil.copytree(written, tmp_path / "project")


def starter(folder: Path, upstream: str) -> tuple[str, str]:
    """Gives the starter's API this upstream; answers the option that names its manifest."""
    api = folder / "apis" / "hello.yaml"
    text = api.read_text()
    assert "http://127.0.0.1:9091" in text
    api.write_text(text.replace("http://127.0.0.1:9091", upstream))
    return "--manifest", str(folder / "build.yaml")


def test_a_starters_apis_are_a_default_and_its_echo_too_unless_the_port_is_taken(project: Path) -> None:
    manifest = starter(project, f"http://127.0.0.1:{ECHO_PORT}")
    assert with_defaults(options(*manifest)).apis == project / "apis"
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # then another run on this machine has it
            stack.enter_context(socket.create_server(("127.0.0.1", ECHO_PORT)))
        assert with_defaults(options(*manifest)).with_echo is False


@pytest.mark.parametrize("upstream", ["http://127.0.0.1:PORT", "http://localhost:PORT", "http://127.0.0.1:PORT/base"])
def test_the_echo_starts_at_any_echo_port(project: Path, free: int, upstream: str) -> None:
    manifest = starter(project, upstream.replace("PORT", str(free)))
    assert with_defaults(options(*manifest, "--echo-port", str(free))).with_echo is True
    with socket.create_server(("127.0.0.1", free)):
        assert with_defaults(options(*manifest, "--echo-port", str(free))).with_echo is False


@pytest.mark.parametrize(
    "upstream", ["http://orders.internal", "http://orders.internal:PORT", "https://127.0.0.1:PORT", "http://127.0.0.1"]
)
def test_an_upstream_of_ones_own_needs_no_echo(project: Path, free: int, upstream: str) -> None:
    manifest = starter(project, upstream.replace("PORT", str(free)))
    found = with_defaults(options(*manifest, "--echo-port", str(free)))
    assert (found.apis, found.with_echo) == (project / "apis", False)


def test_a_longer_port_is_another_one(project: Path) -> None:
    manifest = starter(project, "http://127.0.0.1:19091")
    assert with_defaults(options(*manifest)).with_echo is False


def test_files_that_name_the_echo_mean_the_port_that_it_has(project: Path, free: int) -> None:
    starter(project, f"http://127.0.0.1:{ECHO_PORT}")
    found = options("--with-echo", "--echo-port", str(free))
    (read,) = read_again(found, project / "apis" / "hello.yaml")
    assert isinstance(read, ApiFile)
    assert read.upstreams == (f"http://127.0.0.1:{free}",)
    (project / "bad.yaml").write_text("{")
    (bad,) = read_again(found, project / "bad.yaml")
    assert isinstance(bad, RefusedFile)


@pytest.mark.parametrize("more", [("--no-controller",), ("--build", "build/x")])
def test_what_has_no_use_for_the_apis_leaves_them_alone(project: Path, more: tuple[str, ...]) -> None:
    found = with_defaults(options("--manifest", str(project / "build.yaml"), *more))
    assert (found.apis, found.with_echo) == (None, False)


def test_options_override_the_defaults(project: Path) -> None:
    (project / "others").mkdir()
    arguments = ("--apis", str(project / "others"), "--with-echo")
    found = with_defaults(options("--manifest", str(project / "build.yaml"), *arguments))
    assert (found.apis, found.with_echo) == (project / "others", True)


def test_a_file_that_cannot_be_read_keeps_no_echo_away(project: Path, free: int) -> None:
    manifest = starter(project, f"http://127.0.0.1:{free}")
    (project / "apis" / "bad.yaml").write_text("[")
    assert with_defaults(options(*manifest, "--echo-port", str(free))).with_echo is True


def test_secrets_are_beside_the_manifest_or_where_the_option_says(project: Path) -> None:
    manifest = ("--manifest", str(project / "build.yaml"))
    assert secrets_place(options(*manifest)) == project / "secrets", "expected a place even before the folder is there"
    assert secrets_place(options(*manifest, "--secrets", str(project / "other"))) == project / "other"
    assert secrets_place(options("--build", str(project))) is None


def test_a_controllers_certificate_is_named_by_options_or_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    assert controller_tls(options()) is None
    monkeypatch.setenv("GATEWRIGHT_CONTROLLER_TLS_CERTIFICATE", "/tls/web.pem")
    monkeypatch.setenv("GATEWRIGHT_CONTROLLER_TLS_KEY", "/tls/web.key")
    tls = controller_tls(options("--controller-tls-key", "other.key"))
    assert tls is not None
    assert (tls.certificate, tls.key) == (Path("/tls/web.pem"), Path("other.key").absolute())
    assert controller_tls(options("--no-controller")) is None
