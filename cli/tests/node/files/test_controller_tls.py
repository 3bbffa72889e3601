"""A run's controller with TLS: a real one, started and probed as by the supervisor, and its clients."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from gatewright_cli.clients.controller_refusals import NoAnswerError
from gatewright_cli.clients.management import Management
from gatewright_cli.commands.controller_address import controller_address
from gatewright_cli.node.files.controller_tls import ControllerTls, mistakes
from gatewright_cli.node.files.run_dir import RunDir
from gatewright_cli.node.specs.processes import controller
from gatewright_cli.supervision.managed_process import ManagedProcess
from gatewright_cli.supervision.probes import Probe

from cli.tests.clients.test_management import SECRETS, settings
from e2e.kit.certificates import Authority, authority

if TYPE_CHECKING:
    from cli.tests.conftest import Bench


class Live(NamedTuple):
    management: Management
    run_dir: RunDir
    alive: Probe


@pytest.fixture
def signer(tmp_path: Path) -> Authority:
    return authority(tmp_path)


def with_controller(bench: Bench, pair: tuple[Path, Path], work: Callable[[Live], Awaitable[None]]) -> None:
    tls = ControllerTls(*pair)
    node = replace(settings(bench), controller_tls=tls)
    (bench.folder / "run").mkdir(mode=0o700)
    run_dir = RunDir.open(bench.folder / "run")
    SECRETS.write(run_dir)
    tls.keep_in(run_dir)
    run_dir.write_status(
        {"controller": node.controller_url, "echo": None, "folder": "", "manifest": "", "stateDir": ""}
    )

    async def live() -> None:
        process = ManagedProcess(controller(node, run_dir), bench.output)
        await process.start()
        try:
            assert process.spec.alive is not None
            management = Management(node.controller_url or "", SECRETS.token, tls.trust())
            await work(Live(management, run_dir, process.spec.alive))
        finally:
            await process.stop()

    bench.run(live())
    run_dir.remove()


async def until_logged(bench: Bench, words: str) -> None:
    while words not in bench.output.text():
        await asyncio.sleep(0.02)


async def all_reach(live: Live) -> None:
    """The supervisor's probe and client, and a command."""
    assert await live.alive.obstacle() is None
    assert await live.management.apis() == {}
    assert await by_command(live.run_dir).apis() == {}


def by_command(run_dir: RunDir) -> Management:
    """As a command reaches the run's controller."""
    found = controller_address(run_dir.path, None, {})
    assert found.url.startswith("https://127.0.0.1:")
    return Management(found.url, found.token, found.tls)


def test_the_certificate_need_not_name_this_machine(bench: Bench, signer: Authority) -> None:
    async def work(live: Live) -> None:
        await all_reach(live)

    with_controller(bench, signer.issue("web", "gateway.example"), work)


def test_another_certificate_of_the_same_authority_is_not_trusted(bench: Bench, signer: Authority) -> None:
    async def work(live: Live) -> None:
        other = ControllerTls(*signer.issue("other", "gateway.example"))
        base = live.management._client._base.geturl()
        with pytest.raises(NoAnswerError, match="its certificate is not trusted"):
            await Management(base, SECRETS.token, other.trust()).apis()

    with_controller(bench, signer.issue("web", "gateway.example"), work)


def test_clients_go_on_when_the_certificate_is_renewed(bench: Bench, signer: Authority) -> None:
    pair, new, broken = (signer.issue(name, "gateway.example") for name in ("web", "new", "broken"))

    async def work(live: Live) -> None:
        for file, renewed in zip(pair, new, strict=True):
            renewed.rename(file)
        await all_reach(live)  # the controller has the earlier one yet
        await until_logged(bench, "the renewed certificate is used")
        await all_reach(live)
        broken[0].rename(pair[0])
        await until_logged(bench, "the renewed certificate cannot be used")
        await all_reach(live)
        pair[0].write_text("")
        await all_reach(live)

    with_controller(bench, pair, work)


def test_options_that_cannot_be_used_are_mistakes(signer: Authority, tmp_path: Path) -> None:
    certificate, key = signer.issue("web", "127.0.0.1")
    assert mistakes(None, None) == mistakes(certificate, key) == []
    assert mistakes(certificate, None) == [
        "expected --controller-tls-key beside --controller-tls-certificate, got none: "
        "name it, or leave --controller-tls-certificate out"
    ]
    assert mistakes(None, key) == [
        "expected --controller-tls-certificate beside --controller-tls-key, got none: "
        "name it, or leave --controller-tls-key out"
    ]
    (mistake,) = mistakes(certificate, tmp_path / "none")
    assert mistake.startswith(f"the controller's certificate: {tmp_path}/none: expected a file that can be read")
