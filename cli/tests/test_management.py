from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from gatewright_cli import bootstrap
from gatewright_cli.api_files import load, with_upstream
from gatewright_cli.build_output import BuildOutput
from gatewright_cli.keeper import Keeper
from gatewright_cli.management import DeployError, deploy, until_it_passes
from gatewright_cli.node import NodeSettings, controller
from gatewright_cli.ports import free_port
from gatewright_cli.run_dir import RunDir

if TYPE_CHECKING:
    from cli.tests.conftest import Bench

SAMPLE = bootstrap.find().parents[2] / "samples" / "hello.yaml"


def settings(bench: Bench) -> NodeSettings:
    (bench.folder / "policy-definitions").mkdir()
    return NodeSettings(
        build=BuildOutput(bench.folder, ()),
        definitions=bench.folder / "policy-definitions",
        state_dir=bench.folder,
        envoy=Path("envoy"),
        bootstrap_template=bootstrap.find(),
        node_id="node-1",
        controller=f"127.0.0.1:{free_port('127.0.0.1')}",
    )


def test_what_the_real_controller_refuses_is_said_file_by_file(bench: Bench) -> None:
    node = settings(bench)
    api = load(SAMPLE)[0]
    wrong = [api, replace(api, path=Path("second.yaml"), content=b"kind: Api"), replace(api, content=b"\xff")]

    async def live() -> None:
        keeper = Keeper(controller(node, RunDir(bench.folder, made=False)), bench.output)
        await keeper.start()
        with pytest.raises(DeployError) as caught:
            await deploy(f"http://{node.controller}", wrong)
        await keeper.stop()
        said = str(caught.value)
        assert said.startswith("not deployed:\n")
        assert f"{SAMPLE}:11: spec.policies[0].name: expected a policy of this build, got 'log-message'" in said
        assert "second.yaml:1: apiVersion: " in said
        assert f"{SAMPLE}: " in said.splitlines()[-1]

    bench.run(live())


def test_no_controller_at_all(bench: Bench) -> None:
    async def live() -> None:
        with pytest.raises(DeployError, match="the controller gave no answer"):
            await deploy(f"http://127.0.0.1:{free_port('127.0.0.1')}", load(SAMPLE))

    bench.run(live())


def test_the_trial_goes_on_until_the_upstream_has_answered(bench: Bench) -> None:
    asked: list[bytes] = []
    statuses = iter((b"404 Not Found", b"503 No", b"500 Fault", b"401 Who?", b"200 OK"))

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        asked.append(request.partition(b"\r\n")[0])
        writer.write(b"HTTP/1.1 " + next(statuses) + b"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    async def live() -> None:
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            await until_it_passes(f"http://127.0.0.1:{port}", ("GET", "/hello/try"), bench.output)

    bench.run(live())
    assert asked == [b"GET /hello/try HTTP/1.1"] * 4


def test_an_api_is_pointed_at_another_upstream() -> None:
    moved = with_upstream(load(SAMPLE)[0], "http://127.0.0.1:9091", "http://127.0.0.1:1")
    assert b"url: http://127.0.0.1:1}" in moved.content
