"""Against the real controller; no node is connected, so that what it takes stays pending."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from gatewright_cli import bootstrap, deployment
from gatewright_cli.api_files import ApiFile, ApiFiles, RefusedFile, load, read
from gatewright_cli.build_output import BuildOutput
from gatewright_cli.deployment import Deployment
from gatewright_cli.keeper import Keeper
from gatewright_cli.management import DeployError, InvalidError, Management, NoAnswerError
from gatewright_cli.node import NodeSettings, controller
from gatewright_cli.operator_secrets import OperatorSecrets
from gatewright_cli.ports import free_port
from gatewright_cli.run_dir import RunDir

if TYPE_CHECKING:
    from cli.tests.conftest import Bench

SECRETS = OperatorSecrets("only-for-these-tests", "")
SAMPLE = bootstrap.find().parents[2] / "samples" / "hello.yaml"
API = """apiVersion: gatewright.dev/v1
kind: Api
metadata: {name: NAME}
spec:
  displayName: NAME
  version: v1.0
  context: /NAME/$version
  upstream: {main: {url: http://127.0.0.1:9}}
  operations: [{method: GET, path: /}]
"""


@pytest.fixture(autouse=True)
def short_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deployment, "UNSETTLED_SECONDS", 0.01)


def soon() -> float:
    return time.monotonic() + 0.2


def settings(bench: Bench) -> NodeSettings:
    (bench.folder / "policy-definitions").mkdir()
    return NodeSettings(
        build=BuildOutput(bench.folder, ()),
        definitions=bench.folder / "policy-definitions",
        state_dir=bench.folder,
        envoy=Path("envoy"),
        bootstrap_template=bootstrap.find(),
        node_id="node-1",
        temporary=bench.folder,
        controller=f"127.0.0.1:{free_port('127.0.0.1')}",
    )


def run_dir_with_secrets(bench: Bench) -> RunDir:
    (bench.folder / "run").mkdir()
    run_dir = RunDir(bench.folder / "run", made=False)
    SECRETS.write(run_dir)
    return run_dir


def with_controller(bench: Bench, work: Callable[[Management], Awaitable[None]]) -> None:
    node = settings(bench)

    async def live() -> None:
        keeper = Keeper(controller(node, run_dir_with_secrets(bench)), bench.output)
        await keeper.start()
        management = Management(f"http://{node.controller}", SECRETS.token)
        try:
            await work(management)
        finally:
            await keeper.stop()

    bench.run(live())


def written(folder: Path, name: str, text: str = API) -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(text.replace("NAME", name))
    return path


def test_what_the_controller_refuses_is_said_with_its_lines(bench: Bench) -> None:
    sample = load(SAMPLE).apis[0]

    async def work(management: Management) -> None:
        for wrong, said in (
            (sample, ":11: spec.policies[0].name: expected a policy of this build, got 'log-message'"),
            (replace(sample, content=b"kind: Api"), ":1: apiVersion: "),
            (replace(sample, content=b"\xff"), ":1: expected text in UTF-8"),
        ):
            with pytest.raises(InvalidError) as caught:
                await management.write(wrong)
            assert str(replace(caught.value.mistakes[0], file="api.yaml")).startswith(f"api.yaml{said}")

    with_controller(bench, work)


def test_no_controller_at_all(bench: Bench) -> None:
    async def live() -> None:
        management = Management(f"http://127.0.0.1:{free_port('127.0.0.1')}", "")
        with pytest.raises(NoAnswerError, match="the controller gave no answer"):
            await management.apis()
        with pytest.raises(NoAnswerError, match="the controller gave no answer"):
            await management.write(load(SAMPLE).apis[0])
        with pytest.raises(DeployError, match="the controller gave no answer"):
            await management.ask_policies("/v1/policies/reload")

    bench.run(live())


def test_a_start_names_what_does_not_serve_and_goes_on(bench: Bench) -> None:
    folder = bench.folder / "apis"
    folder.mkdir()
    written(folder, "good")
    written(folder, "policy", API.replace("operations", "policies: [{name: gone, version: v1}]\n  operations"))
    written(folder, "yaml", "{")

    async def work(management: Management) -> None:
        found = Deployment(management, load(folder), read, bench.output)
        await found.start(soon())
        await found.name_who_does_not_serve()
        assert found.serving() == (0, 3)
        assert [state for state, _ in found.shortcomings()] == ["pending", "rejected", "rejected"]
        pending, yaml, policy = (said for _, said in found.shortcomings())
        assert pending == "good: no node is connected"
        assert yaml.startswith(f"{folder}/yaml.yaml:1: expected a YAML document: ")
        assert policy.startswith(f"{folder}/policy.yaml:9: spec.policies[0].name: expected a policy of this build")
        assert found.report() == [
            {"name": "good", "version": "v1.0", "context": "/good/v1.0", "state": "pending",
             "reason": "no node is connected"}
        ]  # fmt: skip
        assert [(file["api"], file["state"]) for file in found.refused_files()] == [
            ("", "rejected"), ("policy", "rejected"),
        ]  # fmt: skip
        with pytest.raises(DeployError, match=r"not deployed:\n  pending: good: no node is connected\n  rejected: "):
            found.refuse_shortcomings()

    with_controller(bench, work)
    said = bench.output.text()
    assert "API is not deployed" in said
    assert said.count("API file refused; it is tried again when it is saved") == 2


def test_a_refused_file_is_tried_again_when_it_is_saved(bench: Bench) -> None:
    path = written(bench.folder, "wrong", "{")

    async def work(management: Management) -> None:
        found = Deployment(management, load(path), read, bench.output)
        await found.start(soon())
        following = asyncio.create_task(found.follow())
        written(bench.folder, "wrong", API.replace("GET", "FETCH"))
        await bench.until(lambda: "wrong.yaml:9: spec.operations[0].method" in str(found.shortcomings()))
        written(bench.folder, "wrong")
        await bench.until(lambda: [api["name"] for api in found.report()] == ["wrong"])
        assert found.refused_files() == []
        following.cancel()

    with_controller(bench, work)
    assert "API file taken" in bench.output.text()


def test_a_refused_file_is_tried_again_when_there_are_other_policies(bench: Bench) -> None:
    path = written(bench.folder, "early")
    reads: list[Path] = []

    def read_again(path: Path) -> list[ApiFile | RefusedFile]:
        reads.append(path)
        return read(path)

    async def work(management: Management) -> None:
        files = ApiFiles((replace(load(path).apis[0], content=b"kind: Api"),))
        found = Deployment(management, files, read_again, bench.output)
        await found.start(soon())
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
        found = Deployment(management, load(folder), read, bench.output)
        await found.start(soon())
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
        found = Deployment(management, load(path), read, bench.output)
        await found.start(soon())
        path.unlink()
        following = asyncio.create_task(found.follow())
        await bench.until(lambda: found.refused_files() == [])
        following.cancel()

    with_controller(bench, work)


def test_what_a_file_overwrites_and_what_has_no_file_is_said(bench: Bench) -> None:
    for name in ("changed", "same", "left"):
        written(bench.folder, name)

    async def work(management: Management) -> None:
        for name in ("changed", "same", "left"):
            await management.write(load(bench.folder / f"{name}.yaml").apis[0])
        (bench.folder / "left.yaml").unlink()
        written(bench.folder, "changed", API.replace("GET", "POST"))
        await Deployment(management, load(bench.folder), read, bench.output).start(soon())

    with_controller(bench, work)
    said = [line for line in bench.output.text().splitlines() if line.startswith("supervisor")]
    overwritten = [line for line in said if "a file overwrites what the controller had" in line]
    assert len(overwritten) == 1
    assert '"api":"changed"' in overwritten[0]
    (left,) = (line for line in said if "DELETE /v1/apis/NAME" in line)
    assert '"apis":["left"]' in left


def test_a_controller_that_is_away_at_the_start_gets_the_apis_later(bench: Bench) -> None:
    path = written(bench.folder, "late")
    node = settings(bench)

    async def live() -> None:
        management = Management(f"http://{node.controller}", SECRETS.token)
        found = Deployment(management, load(path), read, bench.output)
        await found.start(soon())
        assert found.serving() == (0, 1)
        assert [(file["api"], file["state"]) for file in found.refused_files()] == [("late", "pending")]
        keeper = Keeper(controller(node, run_dir_with_secrets(bench)), bench.output)
        await keeper.start()
        following = asyncio.create_task(found.follow())
        await bench.until(lambda: [api["name"] for api in found.report()] == ["late"])
        assert found.refused_files() == []
        following.cancel()
        await keeper.stop()

    bench.run(live())
