from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import grpc
import pytest
from gatewright_controller._gen import node_pb2, node_pb2_grpc
from gatewright_controller.apis.controller import Controller
from gatewright_controller.nodes import node_server
from gatewright_controller.nodes.deployment import Deployment
from gatewright_controller.nodes.node_server import ListenError, start_node_server
from gatewright_controller.nodes.observations import Observations
from gatewright_controller.nodes.states import States
from gatewright_controller.signed_state import authority, make_key, signing_key, verify
from gatewright_controller.store import StoredApi
from gatewright_controller.translate import Bundle
from gatewright_documents.mistake import Invalid
from gatewright_documents.values import JsonObject
from grpc import aio

from e2e.kit.cut_network import running_network

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]


def bundle(api: str, digest: str) -> Bundle:
    return Bundle.of(node_pb2.ApiBundle(api=api, digest=digest), frozenset())


class NodeStream:
    """A node as the controller sees it: a real stream over a real socket."""

    def __init__(self, address: str) -> None:
        self._channel = aio.insecure_channel(address)
        self._call = node_pb2_grpc.NodeServiceStub(self._channel).Sync()

    async def hello(self, node_id: str = "n1", **bundles: str) -> None:
        refs = [node_pb2.BundleRef(api=api, digest=digest) for api, digest in bundles.items()]
        await self._call.write(node_pb2.NodeMessage(hello=node_pb2.Hello(node_id=node_id, bundles=refs)))

    async def update(self) -> node_pb2.Update:
        message = await self._call.read()
        assert isinstance(message, node_pb2.ControllerMessage), message
        return message.update

    async def report(self, update: node_pb2.Update) -> None:
        """Reports that all of the update is applied."""
        done, gone = node_pb2.ApiStatus.STATE_APPLIED, node_pb2.ApiStatus.STATE_REMOVED
        apis = [
            node_pb2.ApiStatus(api=api_bundle.api, digest=api_bundle.digest, state=done)
            for api_bundle in update.bundles
        ]
        apis += [node_pb2.ApiStatus(api=api, state=gone) for api in update.removed_apis]
        await self._call.write(node_pb2.NodeMessage(report=node_pb2.Report(revision=update.revision, apis=apis)))

    async def write_raw(self, message: node_pb2.NodeMessage) -> None:
        await self._call.write(message)

    async def code(self) -> grpc.StatusCode:
        return await self._call.code()

    async def close(self) -> None:
        await self._channel.close()


@pytest.fixture(scope="module", autouse=True)
async def one_event_loop(anyio_backend: str) -> AsyncIterator[None]:  # noqa: ARG001 - by which it runs at all
    """For all tests here: gRPC may still have something to say to the event loop of the test before, and one that is
    closed fails the next test.
    """
    yield  # noqa: PT022 - it lives as long as this does not return


def unobserved() -> tuple[Deployment, Observations]:
    """For a server without anything to do."""
    deployment = Deployment()
    return deployment, Observations(deployment)


@pytest.fixture
def address(tmp_path: Path) -> str:
    return f"unix:{tmp_path / 'controller.sock'}"


@pytest.fixture(params=["by its mode", "by its peers"])
def peers(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    """How the socket is kept: as for a controller started by hand, and as under a supervisor."""
    if request.param == "by its mode":
        return None
    path = tmp_path / "peers.json"
    path.write_text(json.dumps({"supervisor": os.getppid(), "engine": os.getpid()}))
    return path


@pytest.fixture
async def deployment(address: str, peers: Path | None) -> AsyncIterator[Deployment]:
    deployment = Deployment()
    server = await start_node_server(deployment, Observations(deployment), address, peers)
    yield deployment
    deployment.stop()
    await server.stop(1)


@pytest.fixture
async def node(deployment: Deployment, address: str) -> AsyncIterator[NodeStream]:  # noqa: ARG001 - it must run
    stream = NodeStream(address)
    yield stream
    await stream.close()


async def until(deployment: Deployment, condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await deployment.wait_for_change()


async def test_a_conversation(deployment: Deployment, node: NodeStream) -> None:
    await node.hello()
    assert await node.update() == node_pb2.Update()
    deployment.set_desired(bundle("a", "1"), 1)
    first = await node.update()
    assert [api_bundle.api for api_bundle in first.bundles] == ["a"]
    assert first.revision == 1
    assert deployment.status("a").state == "pending"
    await node.report(first)
    assert (await deployment.wait_until_converged("a", 10)).state == "deployed"
    deployment.remove("a", 2)
    removal = await node.update()
    assert list(removal.removed_apis) == ["a"]
    await node.report(removal)
    assert await deployment.wait_until_removed(["a"], 10)


async def test_a_conversation_about_what_to_listen_on(deployment: Deployment, node: NodeStream) -> None:
    deployment.set_gateway(node_pb2.Gateway(digest="1"), 1)
    await node.write_raw(node_pb2.NodeMessage(hello=node_pb2.Hello(node_id="n1", gateway_digest="1")))
    assert await node.update() == node_pb2.Update(revision=1)
    assert deployment.gateway_status().state == "deployed"
    deployment.set_gateway(node_pb2.Gateway(digest="2"), 2)
    assert (await node.update()).gateway.digest == "2"
    assert deployment.gateway_status().state == "pending"
    refused = node_pb2.GatewayStatus(digest="2", state=node_pb2.ApiStatus.STATE_REJECTED, reason="address in use")
    await node.write_raw(node_pb2.NodeMessage(report=node_pb2.Report(gateway=refused)))
    status = await deployment.wait_until_gateway_converged(10)
    assert (status.state, status.reason) == ("rejected", "n1: address in use")
    deployment.set_gateway(None, 3)
    deployment.set_desired(bundle("a", "1"), 4)
    assert not (await node.update()).HasField("gateway"), "expected each node to keep what it has"
    assert deployment.gateway_status().state == "deployed"


async def test_a_node_that_listens_by_its_own_file_is_sent_none(deployment: Deployment, node: NodeStream) -> None:
    deployment.set_gateway(node_pb2.Gateway(digest="1"), 1)
    hello = node_pb2.Hello(node_id="n1", gateway_digest="own", keeps_gateway=True)
    await node.write_raw(node_pb2.NodeMessage(hello=hello))
    assert await node.update() == node_pb2.Update(revision=1)
    assert (await deployment.wait_until_gateway_converged(10)).state == "deployed"
    deployment.set_gateway(node_pb2.Gateway(digest="2"), 2)
    deployment.set_desired(bundle("a", "1"), 3)
    assert not (await node.update()).HasField("gateway")


async def test_hello_is_answered_even_if_nothing_differs(deployment: Deployment, node: NodeStream) -> None:
    deployment.set_desired(bundle("a", "1"), 4)
    await node.hello(a="1")
    assert await node.update() == node_pb2.Update(revision=4)
    assert deployment.status("a").state == "deployed"


async def test_a_node_that_leaves_is_no_longer_waited_for(
    deployment: Deployment, node: NodeStream, address: str
) -> None:
    deployment.set_desired(bundle("a", "1"), 1)
    await node.hello("n1")
    await node.update()
    other = NodeStream(address)
    await other.hello("n2", a="1")
    await other.update()
    assert deployment.status("a").state == "pending"
    await node.close()
    await until(deployment, lambda: set(deployment.nodes) == {"n2"})
    assert deployment.status("a").state == "deployed"
    await other.close()


async def test_a_second_stream_of_a_node_ends_the_first(deployment: Deployment, node: NodeStream, address: str) -> None:
    await node.hello()
    await node.update()
    second = NodeStream(address)
    await second.hello()
    await second.update()
    assert await node.code() is grpc.StatusCode.OK
    deployment.set_desired(bundle("a", "1"), 1)
    assert [api_bundle.api for api_bundle in (await second.update()).bundles] == ["a"]
    await second.close()


async def read(parts: aio.UnaryStreamCall[node_pb2.StatesRequest, node_pb2.StatePart]) -> node_pb2.StatePart:
    part = await parts.read()
    assert isinstance(part, node_pb2.StatePart), "the stream has ended"
    return part


async def test_a_node_that_asks_is_sent_the_signed_state_again_when_it_changes(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gatewright_controller.nodes.node_server.GATHER_SECONDS", 0.01)
    monkeypatch.setattr("gatewright_controller.nodes.node_server.STATE_JITTER_MS", 1)
    monkeypatch.setattr("gatewright_controller.nodes.node_server.STATE_PIECE_BYTES", 100)
    deployment = Deployment()
    make_key(tmp_path / "key.pem", tmp_path / "key.pub.pem")
    states = States(deployment, signing_key(tmp_path / "key.pem"), "c")
    server = await start_node_server(deployment, Observations(deployment), address, states=states)
    async with aio.insecure_channel(address) as channel:
        parts = node_pb2_grpc.NodeServiceStub(channel).States(node_pb2.StatesRequest(node_id="n1"))

        async def next_state() -> tuple[str, node_pb2.Update]:
            received = [await read(parts)]
            while not received[-1].last:
                received.append(await read(parts))
            document = b"".join(part.piece for part in received)
            _, update = verify(document, authority(tmp_path / "key.pub.pem"))
            return received[0].tag, node_pb2.Update.FromString(update)

        deployment.set_desired(bundle("a", "1"), 1)
        _, first = await next_state()
        deployment.set_desired(bundle("a", "2"), 2)
        tag, second = await next_state()
        assert [update.bundles[0].digest for update in (first, second)] == ["1", "2"]
        again = node_pb2_grpc.NodeServiceStub(channel).States(node_pb2.StatesRequest(node_id="n1", known=tag))
        deployment.set_desired(bundle("a", "3"), 3)
        assert (await read(again)).tag.startswith("3-"), "the known one is not sent again"
    deployment.stop()
    await server.stop(1)


async def test_a_controller_without_a_key_says_how_to_make_one(deployment: Deployment, address: str) -> None:
    assert deployment.revision == 0
    async with aio.insecure_channel(address) as channel:
        call = node_pb2_grpc.NodeServiceStub(channel).States(node_pb2.StatesRequest(node_id="n1"))
        with pytest.raises(grpc.RpcError, match="make a key with `gatewright state key`"):
            await call.read()
        assert await call.code() == grpc.StatusCode.FAILED_PRECONDITION


@pytest.fixture
async def checked(controller: Controller, address: str) -> AsyncIterator[NodeStream]:
    """A node whose controller checks APIs when the node's admin listener moves."""
    observations = Observations(controller.deployment)
    server = await start_node_server(
        controller.deployment, observations, address, admin_moved=controller.recheck_upstreams
    )
    stream = NodeStream(address)
    yield stream
    await stream.close()
    observations.stop()
    controller.deployment.stop()
    await server.stop(1)


async def test_an_api_that_names_a_nodes_admin_listener_is_not_handed_out(
    controller: Controller, checked: NodeStream, orders: JsonObject
) -> None:
    """The API was written before any node had reported where it listens; another one after."""
    orders["spec"]["upstream"]["main"]["url"] = "http://localhost:9901"
    orders["spec"]["policies"] = []
    orders["spec"]["operations"] = [{"method": "GET", "path": "/"}]
    await controller.create(orders)
    await checked.write_raw(_at("127.0.0.1:9901"))
    update = await checked.update()
    assert [(bundle.api, bool(bundle.unserved), len(bundle.clusters)) for bundle in update.bundles] == [
        ("orders-v1", True, 0)
    ]
    status = controller.deployment.status("orders-v1")
    assert status.state == "rejected"
    assert "got localhost:9901, a private port of the gateway itself" in status.reason
    orders["metadata"]["name"], orders["spec"]["context"] = "other", "/other"
    with pytest.raises(Invalid, match="a private port of the gateway itself"):
        await controller.create(orders)

    await checked.write_raw(_at("127.0.0.1:9902"))
    (served,) = (await checked.update()).bundles
    assert (served.unserved, len(served.clusters)) == ("", 1)
    assert await controller.create(orders)


async def test_where_a_node_listened_last_stays_private_while_it_is_away(
    controller: Controller, checked: NodeStream, orders: JsonObject
) -> None:
    await checked.write_raw(_at("127.0.0.1:9901"))
    await checked.update()
    await checked.close()
    await until(controller.deployment, lambda: not controller.deployment.nodes)
    orders["spec"]["upstream"]["main"]["url"] = "http://127.0.0.1:9901"
    with pytest.raises(Invalid, match="a private port of the gateway itself"):
        await controller.create(orders)


async def test_nodes_that_come_at_once_have_the_apis_read_twice(
    controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All but the first wait for one that begins after they came."""
    reads = []
    stored = controller.store.list

    def listed() -> list[StoredApi]:
        reads.append(len(controller.deployment.admin_addresses))
        return stored()

    monkeypatch.setattr(controller.store, "list", listed)

    async def come(number: int) -> None:
        controller.deployment.learn_admin_address(
            node_pb2.Hello(node_id=f"n{number}", admin_address=f"127.0.0.{number}:9901")
        )
        await controller.recheck_upstreams()
        assert reads[-1] > number, "it was read after this node's address was known"

    await asyncio.gather(*map(come, range(50)))
    assert len(reads) <= 2
    await come(50)
    assert len(reads) <= 3


def _at(admin: str) -> node_pb2.NodeMessage:
    return node_pb2.NodeMessage(hello=node_pb2.Hello(node_id="n1", admin_address=admin))


@pytest.mark.parametrize("message", [node_pb2.NodeMessage(), node_pb2.NodeMessage(report=node_pb2.Report())])
async def test_a_stream_that_does_not_begin_with_hello_is_refused(
    deployment: Deployment, node: NodeStream, message: node_pb2.NodeMessage
) -> None:
    await node.write_raw(message)
    assert await node.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert deployment.nodes == {}


async def test_the_socket_is_the_owners_alone(deployment: Deployment, address: str) -> None:  # noqa: ARG001
    mode = Path(address.removeprefix("unix:")).stat().st_mode
    assert stat.S_IMODE(mode) == 0o600


async def test_a_second_controller_is_refused_the_socket(deployment: Deployment, address: str) -> None:  # noqa: ARG001
    with pytest.raises(ListenError, match="another controller does"):
        await start_node_server(*unobserved(), address)


async def test_a_stale_socket_is_taken_over(address: str) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(address.removeprefix("unix:"))
    server = await start_node_server(*unobserved(), address)
    await server.stop(0)


async def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ListenError, match=f"the folder {tmp_path}/none to exist"):
        await start_node_server(*unobserved(), f"unix:{tmp_path}/none/x.sock")


async def test_a_taken_port_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ListenError, match=address):
            await start_node_server(*unobserved(), address)


async def test_a_node_that_has_other_policies_is_sent_what_it_can_run_now(
    deployment: Deployment, node: NodeStream
) -> None:
    await node.hello()
    await node.update()
    deployment.set_desired(Bundle.of(node_pb2.ApiBundle(api="a", digest="1"), frozenset({("fresh", "v1.0.0", "d")})), 1)
    assert deployment.status("a").state == "rejected"
    assert [api_bundle.unserved for api_bundle in (await node.update()).bundles] == [
        "the node's build has no policy fresh:v1.0.0; build it in, or take it off the API"
    ]
    policies = [node_pb2.PolicyRef(name="fresh", version="v1.0.0", definition_digest="d")]
    await node.write_raw(node_pb2.NodeMessage(hello=node_pb2.Hello(node_id="n1", policies=policies)))
    update = await node.update()
    assert [api_bundle.api for api_bundle in update.bundles] == ["a"]
    await node.report(update)
    await until(deployment, lambda: deployment.status("a").state == "deployed")


CONNECTS = """
import socket, sys
with socket.socket(socket.AF_UNIX) as node:
    node.settimeout(20)
    node.connect(sys.argv[1])
    node.sendall(b"PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n" + bytes(3) + b"\\x04" + bytes(5))
    try:
        print(len(node.recv(9)))
    except ConnectionError:
        print(0)
"""


async def hears(address: str) -> int:
    """The number of bytes that the server sends to a child process of this one."""
    command = (sys.executable, "-c", CONNECTS, address.removeprefix("unix:"))
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    length, _ = await process.communicate()
    return int(length)


@pytest.mark.parametrize(("supervisor", "heard"), [("another", 9), ("this", 0), ("none", 0)])
async def test_below_the_supervisor_only_the_engine_may_connect(
    tmp_path: Path, address: str, supervisor: str, heard: int, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "peers.json"
    pids = {"another": {"supervisor": 2**30}, "this": {"supervisor": os.getpid()}, "none": {}}
    path.write_text(json.dumps(pids[supervisor] | {"engine": os.getpid()}))
    server = await start_node_server(*unobserved(), address, path)
    try:
        assert await hears(address) == heard
        refused = [record for record in caplog.records if record.message == "connection refused"]
        assert len(refused) == (0 if heard else 1)
        node = NodeStream(address)  # the engine
        await node.hello()
        assert await node.update() == node_pb2.Update()
        await node.close()
        assert {file.name for file in tmp_path.iterdir()} == {"controller.sock", "peers.json"}
    finally:
        await server.stop(1)
    assert not Path(address.removeprefix("unix:")).exists()


async def test_a_process_may_be_newer_than_the_file_that_names_it(tmp_path: Path, address: str) -> None:
    path = tmp_path / "peers.json"
    path.write_text(json.dumps({"supervisor": os.getppid()}))
    server = await start_node_server(*unobserved(), address, path)
    try:
        node = NodeStream(address)
        hello = asyncio.create_task(node.hello())
        path.write_text(json.dumps({"supervisor": os.getppid(), "engine": os.getpid()}))
        await hello
        assert await node.update() == node_pb2.Update()
        await node.close()
    finally:
        await server.stop(1)


async def test_a_node_that_is_cut_off_counts_as_away_though_its_connection_stays_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With times a tenth of what they are. gRPC waits for a minute where one of them is missing."""
    faster = tuple((name, value // 10 if name.endswith("_ms") else value) for name, value in node_server.OPTIONS)
    monkeypatch.setattr(node_server, "OPTIONS", faster)
    deployment, observations = unobserved()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = await start_node_server(deployment, observations, f"127.0.0.1:{port}")
    with running_network(port) as network:
        node = NodeStream(f"127.0.0.1:{network.port}")
        await node.hello()
        await node.update()
        network.cut()
        async with asyncio.timeout(20):
            while deployment.nodes:
                await deployment.wait_for_change()
        await node.close()
    await server.stop(1)
