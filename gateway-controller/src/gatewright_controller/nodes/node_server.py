"""The nodes' side: one gRPC stream each, on which a node says what it runs and is sent what differs; and one more, on
on which it reports its exchanges and itself on request.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import grpc
from grpc import aio

from gatewright_controller._gen import node_pb2
from gatewright_controller.local.peers import ENGINE, PeerCheck, Rule, in_file
from gatewright_controller.local.relay import Relay, Unnamed
from gatewright_controller.nodes.deployment import Deployment
from gatewright_controller.nodes.node import UNAPPLIED_STATES, Node
from gatewright_controller.nodes.node_access import Context, NodeAccess, NodeTls, NotNowError, refuse
from gatewright_controller.nodes.observations import Observations, ObservingNode
from gatewright_controller.nodes.states import GATHER_SECONDS, NO_KEY, States
from gatewright_controller.nodes.updates import SharedMessages, Step
from gatewright_controller.resource.node_labels import label_mistakes

log = logging.getLogger(__name__)

OPTIONS = (
    ("grpc.so_reuseport", 0),  # else a second controller would share the port without a word
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),  # 15 s after it was cut off, a node counts as away
    ("grpc.http2.ping_timeout_ms", 5_000),  # else a minute, whatever the line before says
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),  # nodes do the same; without this it is 5 minutes
)
SOCKET_MODE = 0o600
STATE_PIECE_BYTES = 1024 * 1024
STATE_JITTER_MS = 3000
"""Nodes are sent a changed state one after the other: each one's is made for it."""
AdminMoved = Callable[[], Awaitable[None]]
"""Called when a node's admin listener is elsewhere than was known. Raises `NotNowError`."""


async def _ignore_admin() -> None:
    """For servers whose deployment has no APIs to check."""


class ListenError(Exception):
    """An address cannot be listened on; the message names it and says why."""


class NodeService:
    """A stream's life: hello → one update, even if empty → updates as the desired state changes; reports meanwhile."""

    def __init__(
        self,
        deployment: Deployment,
        observations: Observations,
        admin_moved: AdminMoved,
        access: NodeAccess | None,
        states: States | None,
    ) -> None:
        self._deployment, self._observations, self._admin_moved = deployment, observations, admin_moved
        self._access, self._states = access, states
        self._shared = SharedMessages()

    async def Sync(  # noqa: N802 - gRPC's name
        self,
        request_iterator: AsyncIterator[node_pb2.NodeMessage],
        context: aio.ServicerContext[node_pb2.NodeMessage, bytes],
    ) -> AsyncIterator[bytes]:
        hello = await _hello(request_iterator, context)
        await self._admit(context, hello.node_id, hello.labels)
        try:
            await self._learn_admin_address(hello)  # before the first update, which may bring an API that names it
        except NotNowError:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the controller cannot read its APIs now")
        node = self._deployment.connect(hello)
        self._observations.nodes_changed()
        log.info("node connected", extra={"node": node.id, "apis": len(node.sent), "policies": len(node.policies)})
        reading = asyncio.create_task(self._read_messages(context, node, request_iterator))
        watching = asyncio.create_task(self._disconnect_refused(context, node))
        try:
            async for message in self._messages(node):
                yield message
        finally:
            reading.cancel()
            watching.cancel()
            self._deployment.disconnect(node)
            self._observations.nodes_changed()
            log.info("node disconnected", extra={"node": node.id})

    async def _messages(self, node: Node) -> AsyncIterator[bytes]:
        """Each serialized."""
        while change := self._deployment.next_consumers(node):  # before the APIs whose policies look for them
            yield _consumers_of(node, change)
        yield self._message_of(node, self._deployment.next_step(node))
        while self._deployment.is_current(node):
            node.news.clear()  # before looking: what comes from here on is looked at in the next round
            orders = self._deployment.take_orders(node)
            for order in orders:
                log.info("node is to drain" if order.drained else "node is to serve again", extra={"node": node.id})
                yield node_pb2.ControllerMessage(drain=order).SerializeToString()
            change = self._deployment.next_consumers(node)
            if change:
                yield _consumers_of(node, change)
            step = self._deployment.next_step(node)
            if not step.is_empty:
                yield self._message_of(node, step)
            elif not orders and not change:
                await node.news.wait()

    def _message_of(self, node: Node, step: Step) -> bytes:
        log.info("update sent", extra=_step_fields(node, step))
        return self._shared.of(step)

    async def _read_messages(self, context: Context, node: Node, messages: AsyncIterator[node_pb2.NodeMessage]) -> None:
        try:
            async for message in messages:
                if message.HasField("hello"):
                    if not await self._permits(context, node.id, message.hello.labels):
                        return  # its next stream is refused, with the reason
                    await self._learn_admin_address(message.hello)
                    self._deployment.update(node, message.hello)
                    log.info("node said hello again", extra={"node": node.id, "policies": len(node.policies)})
                if message.HasField("report"):
                    _log_unapplied(node, message.report)
                    self._deployment.report(node, message.report)
        except NotNowError:
            pass  # the stream ends, and the node opens another one
        finally:
            self._deployment.disconnect(node)

    async def _admit(self, context: Context, node_id: str, labels: Mapping[str, str]) -> None:
        if mistakes := list(label_mistakes(labels)):
            refusal = grpc.StatusCode.INVALID_ARGUMENT, f"node {node_id}: {mistakes[0]}"
            await refuse(context, node_id, refusal, self._deployment.refusals)
        if self._access is not None:
            await self._access.admit(context, node_id, labels)
        self._deployment.refusals.forget(node_id)

    async def _permits(self, context: Context, node_id: str, labels: Mapping[str, str]) -> bool:
        is_permitted = self._access is None or await self._access.permits(context, node_id, labels)
        return is_permitted and not any(label_mistakes(labels))

    async def _disconnect_refused(self, context: Context, node: Node) -> None:
        """Once the stream may be this node's no longer."""
        if self._access is not None:
            why = await self._access.watch(context, node.id, lambda: node.labels)
            log.warning("node disconnected, since its token no longer fits it", extra={"node": node.id, "reason": why})
            self._deployment.disconnect(node)

    async def _learn_admin_address(self, hello: node_pb2.Hello) -> None:
        """Raises `NotNowError`; the address counts as one that is not known, then."""
        if self._deployment.learn_admin_address(hello):
            try:
                await self._admin_moved()
            except NotNowError:
                self._deployment.admin_addresses.pop(hello.node_id, None)
                raise

    async def Observe(  # noqa: N802 - gRPC's name
        self,
        request_iterator: AsyncIterator[node_pb2.Observed],
        context: aio.ServicerContext[node_pb2.Observed, node_pb2.Observation],
    ) -> AsyncIterator[node_pb2.Observation]:
        first = await anext(request_iterator, node_pb2.Observed())
        if not first.node_id:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "expected a node_id in the first message")
        await self._admit(context, first.node_id, first.labels)
        node = self._observations.connect(first.node_id, first.documents)
        reading = asyncio.create_task(self._read_observed(node, request_iterator))
        try:
            async for message in node.messages():
                yield message
        finally:
            reading.cancel()
            self._observations.disconnect(node)

    async def States(  # noqa: N802 - gRPC's name
        self,
        request: node_pb2.StatesRequest,
        context: aio.ServicerContext[node_pb2.StatesRequest, node_pb2.StatePart],
    ) -> AsyncIterator[node_pb2.StatePart]:
        if self._states is None:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, NO_KEY)
            return
        known, labels = request.known, dict(request.labels)
        while not self._deployment.is_stopping:
            await self._admit(context, request.node_id, labels)
            if self._deployment.revision and self._states.tag(labels) != known:
                known, document = await self._states.document(labels)
                log.info("state sent", extra={"node": request.node_id, "tag": known, "bytes": len(document)})
                for begin in range(0, len(document), STATE_PIECE_BYTES):
                    end = begin + STATE_PIECE_BYTES
                    yield node_pb2.StatePart(tag=known, piece=document[begin:end], last=end >= len(document))
            else:
                await self._deployment.wait_for_change()
            await self._deployment.pause(GATHER_SECONDS + secrets.randbelow(STATE_JITTER_MS) / 1000)

    async def _read_observed(self, node: ObservingNode, messages: AsyncIterator[node_pb2.Observed]) -> None:
        try:
            async for message in messages:
                self._observations.receive(node, message)
        finally:
            node.end()


async def _hello(
    messages: AsyncIterator[node_pb2.NodeMessage],
    context: aio.ServicerContext[node_pb2.NodeMessage, bytes],
) -> node_pb2.Hello:
    first = await anext(messages, node_pb2.NodeMessage())
    if not first.hello.node_id:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "expected a hello with a node_id as the first message")
    return first.hello


def _consumers_of(node: Node, change: node_pb2.ConsumerChange) -> bytes:
    counts = {"shards": len(change.shards), "consumers": len(change.consumers), "removed": len(change.removed)}
    log.info("consumers sent", extra={"node": node.id, **counts, "bytes": change.ByteSize()})
    return node_pb2.ControllerMessage(consumers=change).SerializeToString()


def _step_fields(node: Node, step: Step) -> dict[str, object]:
    return {
        "node": node.id,
        "revision": step.revision,
        "apis": [bundle.api for bundle in step.bundles[:20]],
        "removed": list(step.removed[:20]),
        "gateway": step.gateway.digest[:12] if step.gateway else "",
        "secrets": [secret.name for secret in step.secrets[:20]],
    }


def _log_unapplied(node: Node, report: node_pb2.Report) -> None:
    for status in report.apis:
        if state := UNAPPLIED_STATES.get(status.state):
            log.warning(f"API {state}", extra={"node": node.id, "api": status.api, "reason": status.reason})
    if state := UNAPPLIED_STATES.get(report.gateway.state):
        log.warning(f"Gateway {state}", extra={"node": node.id, "reason": report.gateway.reason})


class NodeServer:
    """What serves nodes. Stop it."""

    def __init__(self, server: aio.Server, relay: Relay | None = None) -> None:
        self._server, self._relay = server, relay

    async def stop(self, seconds: float) -> None:
        """What is under way has so long to end."""
        await self._server.stop(seconds)
        if self._relay is not None:
            await self._relay.close()


async def start_node_server(
    deployment: Deployment,
    observations: Observations,
    address: str,
    peers: Path | None = None,
    admin_moved: AdminMoved = _ignore_admin,
    network: tuple[NodeTls, NodeAccess] | None = None,
    states: States | None = None,
) -> NodeServer:
    """Serves nodes on `unix:PATH` (mode 0600) or on a `HOST:PORT` of this machine, and over the `network`. Raises
    `ListenError`.

    peers: the supervisor's file; then only the engine, and processes that are not below the supervisor, may connect.
    """
    server = aio.server(options=OPTIONS)
    tls, access = network or (None, None)
    service = NodeService(deployment, observations, admin_moved, access, states)
    _add_service(service, server)
    if tls is not None:
        _add_secure_port(server, tls)
    path = Path(address.removeprefix("unix:")) if address.startswith("unix:") else None
    if path is None:
        _add_port(server, address)
    else:
        _remove_stale(path)
    relay = None
    if path is not None and peers is None:
        _bind(server, path)
    elif path is not None and peers is not None:
        relay = Relay(path, _bind_unnamed(server, path), PeerCheck(Rule(in_file(peers), (ENGINE,)), path, _warn))
    await server.start()
    if relay is not None:
        await relay.start()
    return NodeServer(server, relay)


@contextlib.asynccontextmanager
async def serving_network(
    deployment: Deployment,
    observations: Observations,
    admin_moved: AdminMoved,
    network: tuple[NodeTls, NodeAccess],
    states: States | None,
) -> AsyncIterator[None]:
    """Serves nodes over the network meanwhile; then their connections are cut off. Raises `ListenError`."""
    server, (tls, access) = aio.server(options=OPTIONS), network
    _add_service(NodeService(deployment, observations, admin_moved, access, states), server)
    _add_secure_port(server, tls)
    await server.start()
    try:
        yield
    finally:
        await server.stop(0)


def _add_service(service: NodeService, server: aio.Server) -> None:
    """As gRPC's generated code does, but that messages of Sync are serialized already."""
    rows: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        "Sync": grpc.stream_stream_rpc_method_handler(service.Sync, node_pb2.NodeMessage.FromString),
        "Observe": grpc.stream_stream_rpc_method_handler(
            service.Observe, node_pb2.Observed.FromString, node_pb2.Observation.SerializeToString
        ),
        "States": grpc.unary_stream_rpc_method_handler(
            service.States, node_pb2.StatesRequest.FromString, node_pb2.StatePart.SerializeToString
        ),
    }
    name = node_pb2.DESCRIPTOR.services_by_name["NodeService"].full_name
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, rows),))


def _warn(at: str, pid: int, why: str) -> None:
    log.warning("connection refused", extra={"socket": at, "pid": pid, "reason": why})


def _bind(server: aio.Server, path: Path) -> None:
    before = os.umask(0o777 & ~SOCKET_MODE)
    try:
        _add_port(server, f"unix:{path}")
    finally:
        os.umask(before)


def _bind_unnamed(server: aio.Server, path: Path) -> Unnamed:
    """gRPC does not say which process connects: it gets a socket whose name is gone before others can use it."""
    own = path.with_name(f".{secrets.token_hex(8)}")
    _bind(server, own)
    unnamed = Unnamed(own)
    unnamed.take()
    return unnamed


def _add_port(server: aio.Server, address: str) -> None:
    try:
        server.add_insecure_port(address)
    except RuntimeError:
        raise ListenError(f"cannot listen for nodes on {address}: it is taken or not ours; choose another") from None


def _add_secure_port(server: aio.Server, tls: NodeTls) -> None:
    try:
        server.add_secure_port(tls.listen, tls.credentials())
    except RuntimeError:
        raise ListenError(f"cannot listen for nodes on {tls.listen}: it is taken or not ours; choose another") from None
    log.info(
        "nodes may connect over the network",
        extra={"listen": tls.listen, "by": "certificate" if tls.authority else "token"},
    )


def _remove_stale(path: Path) -> None:
    """A socket on which no process answers is what a killed controller left."""
    if not path.parent.is_dir():
        raise ListenError(f"cannot listen for nodes on unix:{path}: expected the folder {path.parent} to exist")
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            path.unlink()
            return
    raise ListenError(f"cannot listen for nodes on unix:{path}: another controller does; stop it or choose another")
