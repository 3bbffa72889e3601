"""A controller elsewhere: over TLS, by real sockets, and in clear only with the option."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from gatewright_cli.clients.controller_refusals import NoAnswerError
from gatewright_cli.clients.exchange_source import ExchangeSource
from gatewright_cli.clients.management import Management
from gatewright_cli.commands.controller_address import controller_address
from gatewright_cli.commands.export_command import export
from gatewright_cli.commands.options import NamedController
from gatewright_cli.mistakes import PreflightError

from cli.tests.clients.test_management import SECRETS, with_controller
from e2e.kit.certificates import Authority, authority

if TYPE_CHECKING:
    from cli.tests.conftest import Bench


def test_a_command_that_asks_a_controller_or_a_run_imports_neither() -> None:
    """Envoy's types alone take more than all else that such a command does."""
    modules = "commands.apis.applying, commands.controller_address, commands.exchanges.watch, run.control"
    program = (
        f"import sys\nfrom gatewright_cli import main\n"
        f"for name in '{modules}'.split(', '): __import__(f'gatewright_cli.{{name}}')\n"
        "run = {f'gatewright_cli.{name}' for name in ('run.reloading', 'run.logs.levels', 'node.specs.processes')}\n"
        "print(*sorted(({'envoy', 'google', 'grpc', 'starlette', 'uvicorn'} | run) & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@contextlib.asynccontextmanager
async def tls_before(port: int, signer: Authority, *hosts: str) -> AsyncIterator[int]:
    """A TLS proxy that forwards to a port of this machine; its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*signer.issue("controller", *hosts))

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(65536):
                writer.write(piece)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind_reader, behind_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(copy(reader, behind_writer), copy(behind_reader, writer))

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context) as server:
        yield server.sockets[0].getsockname()[1]


def elsewhere(url: str, monkeypatch: pytest.MonkeyPatch, signer: Authority | None = None) -> Management:
    monkeypatch.setenv("GATEWRIGHT_CONTROLLER_TOKEN", SECRETS.token)
    found = controller_address(None, NamedController(url, signer.file if signer else None))
    return Management(found.url, found.token, found.tls)


def test_a_controller_behind_tls(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    signer = authority(tmp_path)
    (tmp_path / "others").mkdir()
    stranger = authority(tmp_path / "others", "stranger")

    async def work(management: Management) -> None:
        own = management._client._base.port
        assert own
        async with tls_before(own, signer, "127.0.0.1") as port:
            url = f"https://127.0.0.1:{port}"
            assert await elsewhere(url, monkeypatch, signer).apis() == {}
            untrusted = r"certificate is not trusted: .*; name the authority that signs it with --controller-authority"
            for trusting in (None, stranger):
                with pytest.raises(NoAnswerError, match=untrusted):
                    await elsewhere(url, monkeypatch, trusting).apis()
            with pytest.raises(NoAnswerError, match=r"mismatch|certificate is not valid for"):
                await elsewhere(f"https://localhost:{port}", monkeypatch, signer).apis()
            with pytest.raises(NoAnswerError):  # what speaks no TLS
                await elsewhere(f"https://127.0.0.1:{own}", monkeypatch, signer).apis()
            found = controller_address(None, NamedController(url, signer.file))
            source = ExchangeSource(found.url, found.token, found.tls)
            events = [event async for event in source.watch([("seconds", "1")])]
            assert events[-1].ended == "seconds"

    with_controller(bench, work)


@pytest.mark.parametrize("url", ["http://gateway.example:9090", "http://192.0.2.7:9090", "http://[2001:db8::1]:9090"])
def test_a_token_goes_to_another_machine_in_clear_only_with_the_option(url: str) -> None:
    with pytest.raises(PreflightError) as caught:
        controller_address(None, NamedController(url))
    (mistake,) = caught.value.mistakes
    host = url.removeprefix("http://").removesuffix(":9090").strip("[]")
    for part in (f"got {url}", f"`ssh -L 9090:127.0.0.1:9090 {host}`", "https://", "--controller-in-clear"):
        assert part in mistake
    assert controller_address(None, NamedController(url, in_clear=True)).url == url


def test_this_machine_is_spoken_to_in_clear() -> None:
    for url in ("http://127.0.0.1:9090", "http://[::1]:9090", "http://localhost:9090"):
        found = controller_address(None, NamedController(url))
        assert (found.url, found.tls) == (url, None)


def test_an_authority_is_a_file_of_certificates_for_https(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").touch()
    for file, reason in (
        (tmp_path / "none.pem", "No such file"),
        (tmp_path / "empty.pem", "holds no certificate in PEM"),
    ):
        with pytest.raises(PreflightError, match=f"--controller-authority: {file}: .*{reason}"):
            controller_address(None, NamedController("https://gateway.example", file))
    with pytest.raises(PreflightError, match="expected an https URL with --controller-authority"):
        controller_address(None, NamedController("http://127.0.0.1:1", tmp_path / "empty.pem"))


@pytest.mark.parametrize("options", [["--controller-authority", "ca.pem"], ["--controller-in-clear"]])
def test_options_of_a_controller_need_a_controller(options: list[str]) -> None:
    done = CliRunner().invoke(export, ["hello", *options])
    assert isinstance(done.exception, PreflightError)
    assert str(done.exception.mistakes[0]).startswith(f"expected --controller URL with {options[0]}, got none")
