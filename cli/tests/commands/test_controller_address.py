"""A controller elsewhere: over TLS, by real sockets, and in clear only with the option."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from click.testing import CliRunner
from gatewright_cli.clients.controller_refusals import NoAnswerError
from gatewright_cli.clients.exchange_source import ExchangeSource
from gatewright_cli.clients.management import Management
from gatewright_cli.commands.controller_address import controller_address
from gatewright_cli.commands.export_command import export
from gatewright_cli.commands.options import NamedController
from gatewright_cli.mistakes import PreflightError
from gatewright_cli.node.files.run_dir import RunDir

from cli.tests.clients.test_management import SECRETS, with_controller
from e2e.kit.certificates import Authority, authority

if TYPE_CHECKING:
    from cli.tests.conftest import Bench


def test_a_command_that_asks_a_controller_or_a_run_imports_neither() -> None:
    """Envoy's types alone take more than all else that such a command does."""
    modules = (
        "commands.apis.applying, commands.controller_address, commands.exchanges.watch, run.control, "
        "commands.resources.fetching, commands.resources.deleting, commands.resources.waiting"
    )
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


CONTEXTS = """current: production
contexts:
  production: {url: "https://production.example", tokenFile: production-token}
  staging: {url: "http://127.0.0.1:9091", token: of-staging}
"""


@pytest.fixture
def places(tmp_path: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Iterator[Places]:
    """Two runs with controllers, one of them of the working directory, and a contexts file."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(bench.folder))
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "contexts.yaml"
    file.write_text(CONTEXTS)
    file.chmod(0o600)
    (tmp_path / "production-token").write_text("of-production\n")
    here, other = (RunDir.open(bench.folder / name) for name in ("gatewright-here", "other"))
    for number, run_dir in enumerate((here, other), 1):
        made = {"manifest": str(tmp_path / "build.yaml"), "folder": str(tmp_path), "stateDir": str(tmp_path / "state")}
        run_dir.write_status({"controller": f"http://127.0.0.1:{number}", "echo": None, **made})
        run_dir.write("management-token", f"of-run-{number}\n")
    yield Places(
        {"GATEWRIGHT_CONTEXTS": str(file), "GATEWRIGHT_CONTROLLER_TOKEN": "of-the-environment"}, file, other.path
    )
    here.remove()
    other.remove()


class Places(NamedTuple):
    environment: dict[str, str]
    file: Path
    other_run: Path


def test_the_order_in_which_a_controller_is_named(places: Places) -> None:
    """Each of the table's rows goes before those below it."""
    environment, file, other_run = places
    rows = [
        ("GATEWRIGHT_CONTROLLER", "http://127.0.0.1:7", "http://127.0.0.1:7", "of-the-environment"),
        ("GATEWRIGHT_CONTEXT", "staging", "http://127.0.0.1:9091", "of-staging"),
        ("GATEWRIGHT_RUN_DIR", str(other_run), "http://127.0.0.1:2", "of-run-2"),
    ]
    variables = {name: value for name, value, _, _ in rows}
    options: list[tuple[Path | None, NamedController | None, str, str, str]] = [
        (other_run, None, "http://127.0.0.1:2", "of-run-2", "--run-dir"),
        (None, NamedController("http://127.0.0.1:8"), "http://127.0.0.1:8", "of-the-environment", "--controller"),
        (None, NamedController(context="staging"), "http://127.0.0.1:9091", "of-staging", "--context"),
    ]
    for run_dir, named, url, token, chosen_by in options:
        found = controller_address(run_dir, named, {**environment, **variables})
        assert (found.url, found.token, found.chosen_by) == (url, token, chosen_by)
    for name, _, url, token in rows:
        found = controller_address(None, None, {**environment, **variables})
        assert (found.url, found.token, found.chosen_by) == (url, token, name)
        del variables[name]
    found = controller_address(None, None, environment)
    assert (found.url, found.token, found.context) == ("https://production.example", "of-production", "production")
    assert found.chosen_by == f"current of {file}"
    assert found.place == "https://production.example, context production"
    file.write_text(CONTEXTS.replace("current: production\n", ""))
    found = controller_address(None, None, environment)
    assert (found.url, found.token, found.chosen_by) == ("http://127.0.0.1:1", "of-run-1", "the working directory")


def test_empty_variables_name_nothing_and_an_empty_option_is_refused(places: Places) -> None:
    empty = {"GATEWRIGHT_CONTROLLER": "", "GATEWRIGHT_CONTEXT": "", "GATEWRIGHT_RUN_DIR": ""}
    assert controller_address(None, None, {**places.environment, **empty}).context == "production"
    with pytest.raises(PreflightError, match=r"--controller: expected a URL such as .*, got ''"):
        controller_address(None, NamedController(""), places.environment)
    with pytest.raises(PreflightError, match=r"expected a context of .*, got ''"):
        controller_address(None, NamedController(context=""), places.environment)


def test_options_that_name_a_controller_exclude_each_other(tmp_path: Path) -> None:
    for run_dir, named, expected in (
        (
            tmp_path,
            NamedController("http://127.0.0.1:1"),
            "expected --run-dir or --controller, got both: leave one out",
        ),
        (tmp_path, NamedController(context="a"), "expected --run-dir or --context, got both: leave one out"),
        (None, NamedController("http://127.0.0.1:1", context="a"), "expected --controller or --context, got both"),
        (tmp_path, NamedController("http://127.0.0.1:1", context="a"), "got all of them: leave two out"),
    ):
        with pytest.raises(PreflightError) as refused:
            controller_address(run_dir, named)
        assert expected in str(refused.value)


def test_an_authority_of_the_options_is_for_a_url_of_the_environment_too(places: Places, tmp_path: Path) -> None:
    named = NamedController(authority=tmp_path / "none.pem")
    elsewhere = {**places.environment, "GATEWRIGHT_CONTROLLER": "https://gateway.example"}
    with pytest.raises(PreflightError, match=r"--controller-authority: .*/none.pem: No such file"):
        controller_address(None, named, elsewhere)
    in_clear = {**places.environment, "GATEWRIGHT_CONTROLLER": "http://gateway.example"}
    with pytest.raises(PreflightError, match=r"^GATEWRIGHT_CONTROLLER: expected https to another machine"):
        controller_address(None, None, in_clear)
    assert controller_address(None, NamedController(in_clear=True), in_clear).url == "http://gateway.example"


def test_a_context_has_its_own_ca_token_and_leave_to_send_it_in_clear(places: Places, tmp_path: Path) -> None:
    def refusal(context: str) -> str:
        places.file.write_text(f"contexts: {{a: {context}}}\n")
        with pytest.raises(PreflightError) as refused:
            controller_address(None, NamedController(context="a"), places.environment)
        return str(refused.value)

    origin = f"context a of {places.file}"
    expected = f"{origin}: ca: {tmp_path}/ca.pem: No such file or directory: name a file of certificates"
    assert refusal("{url: 'https://gateway.example', ca: ca.pem}") == expected
    assert refusal("{url: 'http://127.0.0.1', ca: ca.pem}").startswith(f"expected an https URL with {origin}: ca, got")
    in_clear = refusal("{url: 'http://gateway.example'}")
    assert in_clear.startswith(f"{origin}: expected https to another machine, got http://gateway.example")
    assert in_clear.endswith("or allow it with inClear: true")
    assert "none-token: expected a file" in refusal("{url: 'http://127.0.0.1', tokenFile: none-token}")
    places.file.write_text("contexts: {a: {url: 'http://gateway.example', inClear: true}}\n")
    found = controller_address(None, NamedController(context="a"), places.environment)
    assert (found.url, found.token) == ("http://gateway.example", ""), (
        "expected no token that is for another controller"
    )


def test_a_controller_of_a_context_behind_tls(bench: Bench, tmp_path: Path) -> None:
    signer = authority(tmp_path)
    file = tmp_path / "contexts.yaml"

    async def work(management: Management) -> None:
        own = management._client._base.port
        assert own
        async with tls_before(own, signer, "127.0.0.1") as port:
            file.write_text(f"""contexts:
  trusting: {{url: "https://127.0.0.1:{port}", token: {SECRETS.token}, ca: {signer.file}}}
  other: {{url: "https://127.0.0.1:{port}", token: {SECRETS.token}}}
""")
            file.chmod(0o600)

            async def apis(context: str) -> object:
                found = controller_address(None, NamedController(context=context), {"GATEWRIGHT_CONTEXTS": str(file)})
                return await Management(found.url, found.token, found.tls).apis()

            assert await apis("trusting") == {}
            with pytest.raises(NoAnswerError, match=r"certificate is not trusted: .*, or as the `ca` of the context"):
                await apis("other")

    with_controller(bench, work)


@pytest.mark.parametrize("options", [["--controller-authority", "ca.pem"], ["--controller-in-clear"]])
def test_options_of_a_controller_need_a_controller(options: list[str]) -> None:
    done = CliRunner().invoke(export, ["hello", *options])
    assert isinstance(done.exception, PreflightError)
    assert str(done.exception.mistakes[0]).startswith(f"expected --controller URL with {options[0]}, got none")
