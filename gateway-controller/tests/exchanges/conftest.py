from __future__ import annotations

import asyncio
import functools
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import uvicorn
from gatewright_controller.apis.controller import Controller
from gatewright_controller.gateway.gateways import Gateways
from gatewright_controller.management.api import ApiLimits, create_app
from gatewright_controller.management.connections import BoundedProtocol, Limits
from gatewright_controller.nodes.node_server import NodeServer, start_node_server
from gatewright_controller.nodes.observations import Observations
from gatewright_controller.nodes.watching import Watching, WatchLimits

from .reporting import Served, until


@pytest.fixture(scope="module", autouse=True)
async def one_event_loop(anyio_backend: str) -> AsyncIterator[None]:  # noqa: ARG001 - by which it runs at all
    """As in test_node_server.py."""
    yield  # noqa: PT022 - it lives as long as this does not return


@pytest.fixture
def limits() -> ApiLimits:
    """Tests that are about one parametrize it."""
    return ApiLimits()


@pytest.fixture
def watch_limits() -> WatchLimits:
    """As `limits`."""
    return WatchLimits()


@pytest.fixture
async def served(
    controller: Controller,
    gateways: Gateways,
    observations: Observations,
    limits: ApiLimits,
    watch_limits: WatchLimits,
    tmp_path: Path,
) -> AsyncIterator[Served]:
    address = f"unix:{tmp_path / 'n.sock'}"
    nodes: NodeServer = await start_node_server(controller.deployment, observations, address)
    app = create_app(controller, gateways, watching=Watching(observations, watch_limits), limits=limits)
    protocol = functools.partial(BoundedProtocol, Limits(), {})
    server = uvicorn.Server(uvicorn.Config(app, http=protocol, log_config=None, access_log=False))  # type: ignore[arg-type]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        task = asyncio.create_task(server.serve(sockets=[listener]))
        await until(lambda: server.started)
        served = Served(address, f"http://127.0.0.1:{listener.getsockname()[1]}", observations)
        yield served
        await served.close()
        observations.stop()
        controller.deployment.stop()
        server.should_exit = True
        await task
    await nodes.stop(1)


@pytest.fixture
async def client(served: Served) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=served.url) as client:
        yield client
