"""The APIs of a run, at the real controller; no node is connected, so that accepted APIs stay pending."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from gatewright_cli.api_files import ApiFile, ApiFiles, RefusedFile, load, read
from gatewright_cli.clients.controller_refusals import DeployError, NoAnswerError, NoDatabaseError
from gatewright_cli.clients.management import Management, Status, StoredApi
from gatewright_cli.node.specs.processes import controller
from gatewright_cli.run.deployment import Deployment, Pauses
from gatewright_cli.supervision.managed_process import ManagedProcess

from cli.tests.clients.test_management import API, SECRETS, run_dir_with_secrets, settings, with_controller, written

if TYPE_CHECKING:
    from cli.tests.conftest import Bench


SHORT = Pauses(poll_seconds=0.0, unsettled_seconds=0.01)


class Scripted(Management):
    """A controller that answers only the third request."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:9", "")
        self.waits: list[float] = []

    async def apis(self, wait: float = 0.0) -> dict[str, StoredApi]:
        self.waits.append(wait)
        if len(self.waits) < 3:
            raise NoAnswerError("it starts")
        return {"one": StoredApi(Status("deployed"), {"name": "one"})}


def test_a_start_asks_again_until_the_controller_has_answered(bench: Bench) -> None:
    management = Scripted()
    found = Deployment(management, ApiFiles(), read, bench.output, pauses=SHORT)
    bench.run(found.start(time.monotonic() + 3600.0))
    first, *others = management.waits
    assert first == 0.0
    assert [0.0 < wait <= 3600.0 for wait in others] == [True, True]
    assert found.serving() == (1, 1)


def test_a_start_ends_in_time_without_an_answer(bench: Bench) -> None:
    management = Scripted()
    bench.run(Deployment(management, ApiFiles(), read, bench.output, pauses=SHORT).start(time.monotonic()))
    assert management.waits == [0.0]


class WithoutDatabase(Management):
    """A controller that cannot open its database, until `opened`."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:9", "")
        self.opened = False
        self.calls: list[str] = []

    async def apis(self, wait: float = 0.0) -> dict[str, StoredApi]:  # noqa: ARG002 - of Management
        self._refuse()
        self.calls.append("apis")
        return {"one": StoredApi(Status("deployed"), {"name": "one"})}

    async def write(self, api: ApiFile) -> StoredApi:
        self._refuse()
        self.calls.append(api.name)
        return StoredApi(Status("deployed"), {"name": api.name})

    def _refuse(self) -> None:
        if not self.opened:
            raise NoDatabaseError("the controller cannot open its database: the disk is full")


def test_a_start_without_a_database_waits_for_nothing_and_publishes_once_there_is_one(bench: Bench) -> None:
    management = WithoutDatabase()
    files = load(written(bench.folder, "one"))

    async def work() -> None:
        found = Deployment(management, files, read, bench.output, pauses=SHORT)
        await found.start(time.monotonic() + 3600.0)
        assert found.database_trouble == "the controller cannot open its database: the disk is full"
        ((state, text),) = found.shortcomings()
        assert state == "degraded"
        assert text.endswith("the disk is full; the node serves its last good state meanwhile")
        assert found.serving_words() == " (its last good state)"
        with pytest.raises(DeployError, match="cannot open its database"):
            found.require_all_deployed()
        following = asyncio.create_task(found.follow())
        management.opened = True
        await bench.until(lambda: "one" in management.calls)
        await bench.until(lambda: not found.shortcomings())
        assert management.calls[:2] == ["apis", "one"], "what was stored is known before a file is written over it"
        assert found.database_trouble == ""
        following.cancel()

    bench.run(work())


def test_a_start_names_what_does_not_serve_and_goes_on(bench: Bench) -> None:
    folder = bench.folder / "apis"
    folder.mkdir()
    written(folder, "good")
    written(folder, "policy", API.replace("operations", "policies: [{name: gone, version: v1}]\n  operations"))
    written(folder, "yaml", "{")

    async def work(management: Management) -> None:
        found = Deployment(management, load(folder), read, bench.output, pauses=SHORT)
        await found.start(time.monotonic())
        await found.log_undeployed()
        assert found.serving() == (0, 3)
        assert [state for state, _ in found.shortcomings()] == ["pending", "rejected", "rejected"]
        pending, yaml, policy = (text for _, text in found.shortcomings())
        assert pending == "good: no node is connected"
        assert yaml.startswith(f"{folder}/yaml.yaml:1: expected a YAML document: ")
        assert policy.startswith(f"{folder}/policy.yaml:9: spec.policies[0].name: expected a policy of this build")
        assert found.report() == [
            {"name": "good", "version": "v1.0", "hosts": [], "context": "/good/v1.0", "state": "pending",
             "reason": "no node is connected"}
        ]  # fmt: skip
        assert [(file["api"], file["state"]) for file in found.refused_files()] == [
            ("", "rejected"), ("policy", "rejected"),
        ]  # fmt: skip
        with pytest.raises(DeployError, match=r"not deployed:\n  pending: good: no node is connected\n  rejected: "):
            found.require_all_deployed()

    with_controller(bench, work)
    log = bench.output.text()
    assert "API is not deployed" in log
    assert log.count("API file refused; it is tried again when it is saved") == 2


def test_a_refused_file_is_tried_again_when_it_is_saved(bench: Bench) -> None:
    path = written(bench.folder, "wrong", "{")

    async def work(management: Management) -> None:
        found = Deployment(management, load(path), read, bench.output, pauses=SHORT)
        await found.start(time.monotonic())
        following = asyncio.create_task(found.follow())
        written(bench.folder, "wrong", API.replace("GET", "get"))
        await bench.until(lambda: "wrong.yaml:9: spec.operations[0].method" in str(found.shortcomings()))
        written(bench.folder, "wrong")
        await bench.until(lambda: [api["name"] for api in found.report()] == ["wrong"])
        assert found.refused_files() == []
        following.cancel()

    with_controller(bench, work)
    assert "API file accepted" in bench.output.text()


def test_a_refused_file_is_tried_again_when_there_are_other_policies(bench: Bench) -> None:
    path = written(bench.folder, "early")
    reads: list[Path] = []

    def read_again(path: Path) -> list[ApiFile | RefusedFile]:
        reads.append(path)
        return read(path)

    async def work(management: Management) -> None:
        files = ApiFiles((replace(load(path).apis[0], content=b"kind: Api"),))
        found = Deployment(management, files, read_again, bench.output, pauses=SHORT)
        await found.start(time.monotonic())
        following = asyncio.create_task(found.follow())
        assert reads == []
        found.policies_changed()
        await bench.until(lambda: found.refused_files() == [])
        assert reads == [path]
        following.cancel()

    with_controller(bench, work)


def test_a_file_with_the_name_of_another_ones_api_stays_refused_until_it_has_its_own(bench: Bench) -> None:
    folder = bench.folder / "apis"
    folder.mkdir()
    written(folder, "first")
    second = folder / "second.yaml"
    second.write_text(API.replace("NAME", "first").replace("/first/", "/another/"))

    async def work(management: Management) -> None:
        found = Deployment(management, load(folder), read, bench.output, pauses=SHORT)
        await found.start(time.monotonic())
        following = asyncio.create_task(found.follow())
        tried = bench.output.text().count("API file refused")
        found.policies_changed()
        await bench.until(lambda: bench.output.text().count("API file refused") > tried or not found.refused_files())
        assert [api["context"] for api in found.report()] == ["/first/v1.0"]
        assert "has an API 'first' already" in str(found.refused_files())
        written(folder, "second")
        await bench.until(lambda: [api["name"] for api in found.report()] == ["first", "second"])
        following.cancel()

    with_controller(bench, work)


def test_a_refused_file_that_is_taken_away_is_forgotten(bench: Bench) -> None:
    path = written(bench.folder, "wrong", "{")

    async def work(management: Management) -> None:
        found = Deployment(management, load(path), read, bench.output, pauses=SHORT)
        await found.start(time.monotonic())
        path.unlink()
        following = asyncio.create_task(found.follow())
        await bench.until(lambda: found.refused_files() == [])
        following.cancel()

    with_controller(bench, work)


def test_overwritten_apis_and_those_without_a_file_are_logged(bench: Bench) -> None:
    for name in ("changed", "same", "left"):
        written(bench.folder, name)

    async def work(management: Management) -> None:
        for name in ("changed", "same", "left"):
            await management.write(load(bench.folder / f"{name}.yaml").apis[0])
        (bench.folder / "left.yaml").unlink()
        written(bench.folder, "changed", API.replace("GET", "POST"))
        await Deployment(management, load(bench.folder), read, bench.output, pauses=SHORT).start(time.monotonic())

    with_controller(bench, work)
    lines = [line for line in bench.output.text().splitlines() if line.startswith("supervisor")]
    overwritten = [line for line in lines if "a file overwrites what the controller had" in line]
    assert len(overwritten) == 1
    assert '"api":"changed"' in overwritten[0]
    (left,) = (line for line in lines if "DELETE /v1/apis/NAME" in line)
    assert '"apis":["left"]' in left


def test_a_controller_that_is_away_at_the_start_gets_the_apis_later(bench: Bench) -> None:
    path = written(bench.folder, "late")
    node = settings(bench)

    async def live() -> None:
        management = Management(f"http://{node.controller}", SECRETS.token)
        found = Deployment(management, load(path), read, bench.output, pauses=SHORT)
        await found.start(time.monotonic())
        assert found.serving() == (0, 1)
        assert [(file["api"], file["state"]) for file in found.refused_files()] == [("late", "pending")]
        process = ManagedProcess(controller(node, run_dir_with_secrets(bench)), bench.output)
        await process.start()
        following = asyncio.create_task(found.follow())
        await bench.until(lambda: [api["name"] for api in found.report()] == ["late"])
        assert found.refused_files() == []
        following.cancel()
        await process.stop()

    bench.run(live())
