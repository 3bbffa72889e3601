"""A node that a test simulates: it acknowledges its controller's state and serves the test's documents."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from gatewright_controller._gen import node_pb2, node_pb2_grpc
from grpc import aio

from e2e.inspector.lone_controller import LoneController

READY_SECONDS = 20
DOCUMENTS = {
    "chains": node_pb2.DOCUMENT_CHAINS,
    "clusters": node_pb2.DOCUMENT_CLUSTERS,
    "metrics": node_pb2.DOCUMENT_METRICS,
    "notes": node_pb2.DOCUMENT_NOTES,
    "stats": node_pb2.DOCUMENT_STATS,
}
"""By the names that they have in the management API."""


class PretendedNode:
    """documents: by their names in the management API; what they are when they are asked for. rejects: APIs that it
    does not run, and why. Its streams live in a thread: Playwright has an event loop in the test's own.
    """

    def __init__(
        self, controller: LoneController, node_id: str, documents: Mapping[str, str], rejects: Mapping[str, str]
    ) -> None:
        self.documents = dict(documents)
        self._address, self._id, self._rejects = controller.node_address, node_id, rejects
        with controller.client() as client:
            self._policies = client.get("/v1/policies").json()["policies"]
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @contextmanager
    def connected(self) -> Iterator[PretendedNode]:
        """Connects the node for the block, which begins once it has acknowledged the controller's APIs."""
        self._thread.start()
        try:
            assert self._ready.wait(READY_SECONDS), "expected the controller to answer the node"
            yield self
        finally:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(READY_SECONDS)

    def _run(self) -> None:
        self._loop.run_until_complete(self._live())
        self._loop.close()

    async def _live(self) -> None:
        self._stop = asyncio.Event()
        async with aio.insecure_channel(self._address) as channel:
            stub = node_pb2_grpc.NodeServiceStub(channel)
            tasks = [asyncio.create_task(self._sync(stub.Sync())), asyncio.create_task(self._observe(stub.Observe()))]
            await self._stop.wait()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _sync(self, call: Any) -> None:
        policies = [
            node_pb2.PolicyRef(
                name=policy["name"], version=policy["version"], definition_digest=policy["definitionDigest"]
            )
            for policy in self._policies
        ]
        hello = node_pb2.Hello(node_id=self._id, engine_version="0.1.0", policies=policies)
        await call.write(node_pb2.NodeMessage(hello=hello))
        async for message in _messages(call):
            apis = [self._status(bundle) for bundle in message.update.bundles]
            report = node_pb2.Report(revision=message.update.revision, apis=apis)
            await call.write(node_pb2.NodeMessage(report=report))
            self._ready.set()

    def _status(self, bundle: node_pb2.ApiBundle) -> node_pb2.ApiStatus:
        reason = self._rejects.get(bundle.api, "")
        state = node_pb2.ApiStatus.STATE_REJECTED if reason else node_pb2.ApiStatus.STATE_APPLIED
        return node_pb2.ApiStatus(api=bundle.api, digest=bundle.digest, state=state, reason=reason)

    async def _observe(self, call: Any) -> None:
        known = [DOCUMENTS[name] for name in self.documents]
        await call.write(node_pb2.Observed(node_id=self._id, documents=known))
        names = {number: name for name, number in DOCUMENTS.items()}
        async for observation in _messages(call):
            if observation.document:
                document = self.documents[names[observation.document]].encode()
                await call.write(node_pb2.Observed(observation=observation.id, piece=document))
                await call.write(node_pb2.Observed(observation=observation.id, ended=True))


async def _messages(call: Any) -> AsyncIterator[Any]:
    while (message := await call.read()) is not aio.EOF:
        yield message
