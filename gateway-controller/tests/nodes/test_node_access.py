"""Nodes over the network: real streams, encrypted, each by a token or by a certificate of its own."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest
from gatewright_controller._gen import node_pb2, node_pb2_grpc
from gatewright_controller.access import Caller, Grant, Scope
from gatewright_controller.known_tokens import KnownTokens, NodeTokens
from gatewright_controller.nodes import node_access
from gatewright_controller.nodes.deployment import Deployment
from gatewright_controller.nodes.node_access import NodeAccess, NodeTls, NotNowError
from gatewright_controller.nodes.node_server import ListenError, start_node_server
from gatewright_controller.nodes.observations import Observations
from gatewright_documents.mistake import Invalid
from grpc import aio

from e2e.kit.certificates import Authority, authority

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]
REFUSED = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAVAILABLE)


@dataclass
class Network:
    """A server of nodes over the network. tokens: callers by the text of their token. asked: how often, while the
    store does not answer; None: it does."""

    signer: Authority
    tls: NodeTls
    deployment: Deployment
    tokens: dict[str, Caller] = field(default_factory=dict)
    asked: int | None = None

    @asynccontextmanager
    async def stream(
        self, token: str = "", pair: tuple[Path, Path] | None = None, trust: Path | None = None
    ) -> AsyncIterator[aio.StreamStreamCall[node_pb2.NodeMessage, node_pb2.ControllerMessage]]:
        """A stream that a node opens so."""
        files = [file.read_bytes() for file in (pair[1], pair[0])] if pair else [None, None]
        credentials = grpc.ssl_channel_credentials((trust or self.signer.file).read_bytes(), *files)
        if token:
            credentials = grpc.composite_channel_credentials(credentials, grpc.access_token_call_credentials(token))
        async with aio.secure_channel(self.tls.listen, credentials) as channel:
            yield node_pb2_grpc.NodeServiceStub(channel).Sync()

    async def outcome(self, node: str, token: str = "", pair: tuple[Path, Path] | None = None, **labels: str) -> str:
        """`served`, or the status by which the stream ended."""
        async with self.stream(token, pair) as call:
            try:
                await call.write(hello(node, **labels))
                answer = await call.read()
            except aio.AioRpcError as error:
                return error.code().name
            return "served" if isinstance(answer, node_pb2.ControllerMessage) else (await call.code()).name


def hello(node: str, **labels: str) -> node_pb2.NodeMessage:
    return node_pb2.NodeMessage(hello=node_pb2.Hello(node_id=node, labels=labels))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module", autouse=True)
async def one_event_loop(anyio_backend: str) -> AsyncIterator[None]:  # noqa: ARG001 - by which it runs at all
    """As in test_node_server."""
    yield  # noqa: PT022 - it lives as long as this does not return


@pytest.fixture
async def open_network(tmp_path: Path) -> AsyncIterator[Callable[..., object]]:
    """Opens a server with a certificate for 127.0.0.1. nodes: who signs those of nodes."""
    opened = []

    async def open_server(nodes: Authority | None = None) -> Network:
        signer = authority(tmp_path)
        chain, key = signer.issue("controller", "127.0.0.1")
        tls = NodeTls(f"127.0.0.1:{free_port()}", str(chain), str(key), str(nodes.file) if nodes else "")
        network = Network(signer, tls, Deployment())

        async def find(text: str) -> Caller | None:
            if network.asked is not None:
                network.asked += 1
                raise NotNowError
            return network.tokens.get(text)

        server = await start_node_server(
            network.deployment,
            Observations(network.deployment),
            f"unix:{tmp_path / 'controller.sock'}",
            network=(tls, NodeAccess(find, network.deployment.refusals)),
        )
        opened.append((network, server))
        return network

    yield open_server
    for network, server in opened:
        network.deployment.stop()
        await server.stop(1)


NODE = Caller("token:nodes", (Grant("node"),))
BOUND = Caller("token:east", (Grant("node", Scope(names=["east-*"])),))


async def test_a_token_with_the_role_opens_and_no_other_does(open_network: Callable[..., object]) -> None:
    network: Network = await open_network()  # type: ignore[misc]
    network.tokens |= {"node": NODE, "east": BOUND, "viewer": Caller("token:ann", (Grant("viewer"),))}
    assert await network.outcome("n1", "node") == "served"
    assert await network.outcome("east-1", "east") == "served"
    assert await network.outcome("west-1", "east") == "PERMISSION_DENIED"
    assert await network.outcome("n1", "viewer") == "PERMISSION_DENIED"
    assert await network.outcome("n1", "unknown") == "UNAUTHENTICATED"
    assert await network.outcome("n1") == "UNAUTHENTICATED"
    assert network.deployment.nodes == {}


LABELLED = Caller("token:eu", (Grant("node", Scope(labels={"zone": "eu"})),))


@dataclass
class Unknown(KnownTokens):
    """A store that knows no token."""

    looks: int = 0

    async def caller(self, text: str) -> Caller | None:  # noqa: ARG002
        self.looks += 1
        return None


async def test_tokens_of_a_file_open_for_any_node_until_they_are_taken_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file, store = tmp_path / "tokens", Unknown()
    file.write_text("first-of-16-characters\nsecond-of-16-characters\n")
    tokens = NodeTokens(file, store)
    for text in ("first-of-16-characters", "second-of-16-characters"):
        caller = await tokens.caller(text)
        assert caller is not None
        assert caller.node_refusal("any", {"zone": "eu"}) == ""
        assert caller.rights == {"nodes:connect", "caller:read"}
    assert store.looks == 0
    assert await tokens.caller("first-of-16") is None
    assert store.looks == 1, "tokens of the controller count too"
    file.write_text("second-of-16-characters")
    assert await tokens.caller("first-of-16-characters") is None
    for broken in ("", "short"):
        file.write_text(broken)
        assert await tokens.caller("second-of-16-characters"), "an earlier token stays while the file cannot be used"
    file.unlink()
    assert await tokens.caller("second-of-16-characters")
    assert len([record for record in caplog.records if "the earlier ones stay" in record.message]) == 3
    assert "of-16-characters" not in caplog.text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "expected a file that can be read: FILE: No such file or directory"),
        (b" \n", "expected a token of at least 16 characters on each line of FILE, got none; write a line of random"),
        (b"a-token-of-16-characters\nsecret", "expected a token of at least 16 characters on each line of FILE, got a"),
        (b"\xff" * 20, "expected text in UTF-8 in FILE"),
    ],
)  # fmt: skip
async def test_a_file_of_tokens_that_cannot_be_used_is_refused(tmp_path: Path, text: bytes | None, reason: str) -> None:
    file = tmp_path / "tokens"
    if text is not None:
        file.write_bytes(text)
    with pytest.raises(Invalid) as caught:
        NodeTokens(file, Unknown())
    assert str(caught.value).startswith(f"nodeTokenFile: {reason.replace('FILE', str(file))}")
    assert "secret" not in str(caught.value)


async def test_a_token_with_labels_opens_for_nodes_that_have_them(
    open_network: Callable[..., object], caplog: pytest.LogCaptureFixture
) -> None:
    network: Network = await open_network()  # type: ignore[misc]
    network.tokens["eu"] = LABELLED
    assert await network.outcome("n1", "eu", zone="eu", tier="edge") == "served"
    for _ in range(2):
        assert await network.outcome("n1", "eu", zone="us") == "PERMISSION_DENIED"
    assert await network.outcome("n2", "eu") == "PERMISSION_DENIED"
    assert [
        (vars(record)["node"], vars(record)["reason"]) for record in caplog.records if record.message == "node refused"
    ] == [
        (
            node,
            f"expected the labels zone=eu of the node {node}, as its token has them, got {got}: "
            "start the node with --node-label zone=eu, or give it another token",
        )
        for node, got in (("n1", "zone=us"), ("n2", "no labels"))
    ], "once for each reason"


async def test_a_refused_node_is_known_until_it_is_admitted(open_network: Callable[..., object]) -> None:
    network: Network = await open_network()  # type: ignore[misc]
    network.tokens |= {"node": NODE, "eu": LABELLED}

    def refused() -> list[tuple[str, str]]:
        return [(refusal.node, refusal.reason.partition(",")[0]) for refusal in network.deployment.refusals.current()]

    await network.outcome("n1", "eu", zone="us")
    await network.outcome("n2", "node", Zone="eu")
    (first, second) = refused()
    assert first == ("n1", "expected the labels zone=eu of the node n1")
    assert second[1].startswith("node n2: labels.Zone: expected 1 to 63 lower-case letters")
    assert network.deployment.refusals.current()[0].peer.startswith("ipv4:127.0.0.1:")
    await network.outcome("n1", "eu", zone="eu")
    assert [node for node, _ in refused()] == ["n2"]


async def test_labels_of_another_form_are_refused(open_network: Callable[..., object]) -> None:
    network: Network = await open_network()  # type: ignore[misc]
    network.tokens["node"] = NODE
    async with network.stream("node") as call:
        await call.write(hello("n1", Zone="eu"))
        with pytest.raises(aio.AioRpcError, match=r"node n1: labels\.Zone: expected 1 to 63 lower-case"):
            await call.read()


async def test_another_hello_with_labels_that_the_token_is_not_for_ends_the_stream(
    open_network: Callable[..., object],
) -> None:
    network: Network = await open_network()  # type: ignore[misc]
    network.tokens["eu"] = LABELLED
    async with network.stream("eu") as call:
        await call.write(hello("n1", zone="eu"))
        assert isinstance(await call.read(), node_pb2.ControllerMessage)
        await call.write(hello("n1", zone="eu", tier="edge"))
        while network.deployment.nodes["n1"].labels != {"zone": "eu", "tier": "edge"}:
            await asyncio.sleep(0.001)
        await call.write(hello("n1", zone="us"))
        assert await call.read() is aio.EOF
    assert network.deployment.nodes == {}


async def test_a_node_shows_a_certificate_of_its_own(open_network: Callable[..., object], tmp_path: Path) -> None:
    folder = tmp_path / "nodes"
    folder.mkdir()
    nodes = authority(folder, "nodes")
    network: Network = await open_network(nodes)  # type: ignore[misc]
    network.tokens["node"] = NODE
    pair = nodes.issue("node-1", "node-1")
    assert await network.outcome("node-1", pair=pair) == "served"
    assert await network.outcome("node-2", pair=pair) == "PERMISSION_DENIED"
    assert await network.outcome("node-1", pair=network.signer.issue("node-1", "node-1")) == "UNAVAILABLE"
    assert await network.outcome("node-1", "node") == "UNAVAILABLE", "a token is no certificate"


async def test_a_deleted_token_ends_its_streams(
    open_network: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_access, "RECHECK_SECONDS", 0.01)
    network: Network = await open_network()  # type: ignore[misc]
    network.tokens["node"] = NODE
    async with network.stream("node") as call:
        await call.write(hello("n1"))
        assert isinstance(await call.read(), node_pb2.ControllerMessage)
        assert network.deployment.nodes.keys() == {"n1"}
        del network.tokens["node"]
        assert await call.read() is aio.EOF
    assert network.deployment.nodes == {}


async def test_while_no_token_can_be_read_streams_stay_and_none_is_opened(
    open_network: Callable[..., object], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A token that was deleted meanwhile ends its stream afterwards."""
    monkeypatch.setattr(node_access, "RECHECK_SECONDS", 0.01)
    network: Network = await open_network()  # type: ignore[misc]
    network.tokens["node"] = NODE
    async with network.stream("node") as call:
        await call.write(hello("n1"))
        assert isinstance(await call.read(), node_pb2.ControllerMessage)
        network.asked = 0
        async with asyncio.timeout(60):
            while network.asked < 3:
                await asyncio.sleep(0.01)
        assert await network.outcome("n2", "node") == "UNAVAILABLE"
        assert network.deployment.nodes.keys() == {"n1"}
        assert [record.message for record in caplog.records if record.levelname in ("WARNING", "ERROR")] == []
        network.asked = None
        del network.tokens["node"]
        assert await call.read() is aio.EOF


async def test_a_renewed_certificate_is_shown_to_new_streams(open_network: Callable[..., object]) -> None:
    network: Network = await open_network()  # type: ignore[misc]
    network.tokens["node"] = NODE
    async with network.stream("node") as before:
        await before.write(hello("before"))
        await before.read()
        renewed = authority(network.signer.folder)  # another one, in the place of the first
        network.signer = renewed
        renewed.issue("controller", "127.0.0.1")
        async with asyncio.timeout(60):
            while await network.outcome("after", "node") != "served":
                await asyncio.sleep(0.05)
        assert network.deployment.nodes["before"].connected


async def test_this_machine_needs_no_token_beside_the_network(
    open_network: Callable[..., object], tmp_path: Path
) -> None:
    await open_network()  # type: ignore[misc]
    async with aio.insecure_channel(f"unix:{tmp_path / 'controller.sock'}") as channel:
        call = node_pb2_grpc.NodeServiceStub(channel).Sync()
        await call.write(hello("n1"))
        assert isinstance(await call.read(), node_pb2.ControllerMessage)


async def test_a_port_that_is_taken_is_said(open_network: Callable[..., object], tmp_path: Path) -> None:
    network: Network = await open_network()  # type: ignore[misc]
    deployment = Deployment()

    async def find(_: str) -> Caller | None:
        return None

    with pytest.raises(ListenError, match=f"cannot listen for nodes on {network.tls.listen}"):
        await start_node_server(
            deployment,
            Observations(deployment),
            f"unix:{tmp_path / 'other.sock'}",
            network=(network.tls, NodeAccess(find, network.deployment.refusals)),
        )
