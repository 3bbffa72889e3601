"""Certificates by ACME, for any answers of the authority. It is a script here, and real in e2e/edge/test_acme.py."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from gatewright_controller.acme import certificates as acme_certificates
from gatewright_controller.acme.certificates import AcmeCertificates, AcmeTimes, ChildAnswer
from gatewright_controller.acme.schedule import Wanted
from gatewright_controller.local.acme_folder import certificate_file, record_file, write_private
from gatewright_controller.model import Gateway, gateway_from_document

pytestmark = pytest.mark.anyio
USUAL = AcmeTimes()


def gateway(*hosts: str, names: tuple[str, ...] = ("web",)) -> Gateway:
    asked = {"hosts": list(hosts or ("a.example",)), "termsOfServiceAgreed": True}
    spec = {"certificates": {name: {"acme": asked} for name in names}}
    return gateway_from_document({"apiVersion": "gatewright.dev/v1", "kind": "Gateway", "spec": spec})


def good(lifetime: float = 1000.0, begins: float = 0.0) -> ChildAnswer:
    begins = begins or time.time()
    return {"begins": begins, "ends": begins + lifetime, "renew": None, "look": 0.0}


def bad(kind: str = "refused", wait: float = 0.0) -> ChildAnswer:
    return {"error": "no", "kind": kind, "wait": wait}


class Authority:
    """Answers in turn, and does not answer behind the last one."""

    def __init__(self, *answers: ChildAnswer) -> None:
        self.answers, self.asked = list(answers), list[tuple[str, str]]()
        self.listens = asyncio.Event()
        self.listens.set()

    async def __call__(self, task: str, folder: Path, wanted: Wanted) -> ChildAnswer:
        self.asked.append((task, wanted.name))
        if not self.answers:
            await asyncio.Event().wait()
        answer = self.answers.pop(0)
        if "error" not in answer and task == "obtain":
            write_private(certificate_file(folder, wanted.name), b"obtained")
        return answer


@asynccontextmanager
async def kept(
    folder: Path, authority: Authority, wanted: Gateway | None, times: AcmeTimes = USUAL
) -> AsyncIterator[AcmeCertificates]:
    made = AcmeCertificates(folder, authority.listens.wait, authority, times)
    made.want(wanted)
    task = asyncio.create_task(made.run())
    try:
        yield made
    finally:
        task.cancel()
        await asyncio.wait([task])


async def until(what: object) -> None:
    async with asyncio.timeout(60):
        while not what():  # type: ignore[operator]
            await asyncio.sleep(0.01)


async def test_it_is_obtained_and_kept_over_restarts(tmp_path: Path) -> None:
    authority = Authority(good())
    async with kept(tmp_path, authority, gateway()) as acme:
        await until(lambda: acme.status()["web"]["obtained"])
    async with kept(tmp_path, authority, gateway()) as acme:
        await asyncio.sleep(0.1)
        assert acme.status()["web"]["obtained"]
    assert authority.asked == [("obtain", "web")]
    assert record_file(tmp_path, "web").stat().st_mode & 0o777 == 0o600


async def test_a_placeholder_comes_first_and_the_authority_is_asked_once_nodes_listen(tmp_path: Path) -> None:
    authority = Authority(good())
    authority.listens.clear()
    async with kept(tmp_path, authority, gateway()):
        await until(certificate_file(tmp_path, "web").exists)
        assert authority.asked == []
        authority.listens.set()
        await until(lambda: authority.asked)


async def test_what_is_due_is_renewed(tmp_path: Path) -> None:
    authority = Authority(good(lifetime=0.3), good())
    async with kept(tmp_path, authority, gateway()) as acme:
        await until(lambda: len(authority.asked) == 2)
        await until(lambda: acme.status()["web"]["next"] > acme_certificates._time(time.time() + 300))


async def test_a_failure_is_reported_and_not_repeated_at_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    authority = Authority(bad())
    async with kept(tmp_path, authority, gateway()) as acme:
        await until(lambda: acme.status()["web"]["failures"])
        await asyncio.sleep(0.1)
        status = acme.status()["web"]
    assert (status["obtained"], status["error"], status["failures"]) == (False, "no", 1)
    assert len(authority.asked) == 1
    assert "certificate cannot be obtained" in caplog.text
    async with kept(tmp_path, authority, gateway()) as acme:  # nor after a restart
        await asyncio.sleep(0.1)
    assert len(authority.asked) == 1


async def test_a_certificate_that_fails_delays_no_other(tmp_path: Path) -> None:
    authority = Authority(bad(), good())
    async with kept(tmp_path, authority, gateway(names=("first", "second"))) as acme:
        await until(lambda: acme.status()["second"]["obtained"])
        assert not acme.status()["first"]["obtained"]


async def test_other_hosts_are_another_certificate_and_the_old_one_is_served_meanwhile(tmp_path: Path) -> None:
    authority = Authority(good(), bad(), good())
    async with kept(tmp_path, authority, gateway()) as acme:
        await until(lambda: acme.status()["web"]["obtained"])
        acme.want(gateway("b.example"))
        await until(lambda: acme.status()["web"]["failures"])
        assert not acme.status()["web"]["obtained"]
        assert certificate_file(tmp_path, "web").read_bytes() == b"obtained"
        acme.want(gateway("b.example", "c.example"))
        await until(lambda: acme.status()["web"]["obtained"])
        acme.want(None)
        assert acme.status() == {}


async def test_what_the_authority_suggests_is_asked_for_again(tmp_path: Path) -> None:
    soon = {**good(begins=time.time() - 10), "renew": time.time() + 30}
    authority = Authority(good(), soon)
    async with kept(tmp_path, authority, gateway(), AcmeTimes(least_look_seconds=0.1)) as acme:
        await until(lambda: len(authority.asked) >= 2)
        await until(lambda: acme._records["web"].renew < time.time() + 400)
    assert authority.asked[1] == ("look", "web")


@pytest.mark.parametrize("text", ["", "[]", '{"failures": "many"}', json.dumps({"subject": 3})])
async def test_a_damaged_record_is_no_record(tmp_path: Path, text: str) -> None:
    write_private(certificate_file(tmp_path, "web"), b"something")
    write_private(record_file(tmp_path, "web"), text.encode())
    authority = Authority(good())
    async with kept(tmp_path, authority, gateway()) as acme:
        await until(lambda: acme.status()["web"]["obtained"])


async def test_a_fault_is_logged_and_it_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    authority = Authority({}, good())  # an answer without what there must be
    async with kept(tmp_path, authority, gateway(), AcmeTimes(fault_seconds=0.05)) as acme:
        await until(lambda: acme.status()["web"]["obtained"])
    assert "certificates are not kept, for a while" in caplog.text


async def test_a_process_that_fails_is_a_failure(tmp_path: Path) -> None:
    wanted = Wanted("web", ("a.example",), "https://127.0.0.1:1/dir")
    failure = await acme_certificates.ask_in_child("obtain", tmp_path, wanted)
    assert failure["kind"] == "unreachable"
    assert failure["error"].startswith("https://127.0.0.1:1/dir cannot be reached: ")
    failure = await acme_certificates.ask_in_child("obtain", tmp_path, wanted, seconds=0.01)
    assert "the process that obtains it has failed" in failure["error"]
