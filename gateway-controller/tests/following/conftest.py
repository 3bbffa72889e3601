from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from gatewright_controller.apis.controller import Controller
from gatewright_controller.following import Following
from gatewright_controller.gateway.gateways import Gateways
from gatewright_controller.kinds import Keyring, open_kinds
from gatewright_controller.nodes.node import Node
from gatewright_controller.resource.definitions import Definitions, load_definitions
from gatewright_controller.store import open_store
from gatewright_controller.translate import EdgeSettings

from .sides import KEY, Late, Side


@pytest.fixture
def url(new_postgresql: Callable[[], str]) -> str:
    return new_postgresql()


@pytest.fixture
def definitions(folder: Path, testdata: Path) -> Definitions:
    shutil.copy(testdata / "keyed-v1.0.0.yaml", folder)
    shutil.copy(testdata / "sealed-v1.0.0.yaml", folder)
    return load_definitions(folder, {"guard": {"issuer": "https://id.example"}})


@pytest.fixture
async def sides(
    url: str, definitions: Definitions, connect: Callable[[Controller], Node]
) -> AsyncIterator[tuple[Side, Side]]:
    async with contextlib.AsyncExitStack() as stack:
        made = []
        for _ in range(2):
            store = stack.enter_context(contextlib.closing(open_store(url)))
            controller = Controller(store, lambda: definitions, EdgeSettings())
            gateways = Gateways(store, controller.deployment, None)
            controller.gateways.default = gateways.names
            kinds = open_kinds(controller, Keyring(KEY))
            following = Following(controller, gateways, kinds)
            kinds.load()
            controller.load()
            gateways.load()
            task = asyncio.create_task(following.run())
            stack.push_async_callback(asyncio.wait, [task])
            stack.callback(task.cancel)
            made.append(Side(controller, gateways, kinds, following, connect(controller)))
        yield made[0], made[1]


@pytest.fixture
def open_late(
    url: str, definitions: Definitions, connect: Callable[[Controller], Node]
) -> Iterator[Callable[[], Late]]:
    stores = []

    def open_controller() -> Late:
        stores.append(store := open_store(url))
        controller = Controller(store, lambda: definitions, EdgeSettings())
        kinds, gateways = open_kinds(controller, Keyring(KEY)), Gateways(store, controller.deployment, None)
        return Late(controller, kinds, gateways, Following(controller, gateways, kinds), connect(controller))

    yield open_controller
    for store in stores:
        store.close()
