"""Against the real controller; no node is connected, so that accepted APIs stay pending."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from gatewright_cli.api_files import load
from gatewright_cli.builds.build_output import BuildOutput
from gatewright_cli.clients.controller_refusals import DeployError, InvalidError, NoAnswerError
from gatewright_cli.clients.management import Management
from gatewright_cli.node.files.operator_secrets import OperatorSecrets
from gatewright_cli.node.files.run_dir import RunDir
from gatewright_cli.node.listeners.ports import free_port
from gatewright_cli.node.specs import bootstrap
from gatewright_cli.node.specs.processes import NodeSettings, controller
from gatewright_cli.supervision.managed_process import ManagedProcess

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


def with_controller(bench: Bench, work: Callable[[Management], Awaitable[None]], page_size: int = 1000) -> None:
    node = settings(bench)

    async def live() -> None:
        process = ManagedProcess(controller(node, run_dir_with_secrets(bench)), bench.output)
        await process.start()
        management = Management(f"http://{node.controller}", SECRETS.token, page_size=page_size)
        try:
            await work(management)
        finally:
            await process.stop()

    bench.run(live())


def written(folder: Path, name: str, text: str = API) -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(text.replace("NAME", name))
    return path


def test_mistakes_of_the_controller_have_lines(bench: Bench) -> None:
    sample = load(SAMPLE).apis[0]

    async def work(management: Management) -> None:
        for wrong, place in (
            (sample, ":11: spec.policies[0].name: expected a policy of this build, got 'log-message'"),
            (replace(sample, content=b"kind: Api"), ":1: apiVersion: "),
            (replace(sample, content=b"\xff"), ":1: expected text in UTF-8"),
        ):
            with pytest.raises(InvalidError) as caught:
                await management.write(wrong)
            assert str(replace(caught.value.mistakes[0], file="api.yaml")).startswith(f"api.yaml{place}")

    with_controller(bench, work)


def test_all_pages_of_a_list_are_read(bench: Bench) -> None:
    async def work(management: Management) -> None:
        names = ["first", "second", "third"]
        for name in names:
            (api,) = load(written(bench.folder, name)).apis
            await management.write(api)
        assert list(await management.apis()) == names

    with_controller(bench, work, page_size=1)


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
