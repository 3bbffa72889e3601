"""What nodes are asked to report of their exchanges and of themselves, and which listeners receive it.

Everything here lives on one event loop and is in memory only. Exchanges are JSON as the engine made it, and stay bytes;
so do the documents of a node. A node is asked when it connects and stopped when the last listener has gone: it does no
work for an observation without listeners.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Literal, Protocol

import msgspec

from gatewright_controller._gen import node_pb2
from gatewright_controller.nodes.deployment import Deployment

OPENING_SECONDS = 3.0
"""How long a connected node may take to open its Observe stream before it counts as unobserved."""

DISCONNECTED = "the node disconnected"

NodeState = Literal["observed", "connecting", "refused", "unobserved"]


class ObservedNode(msgspec.Struct, frozen=True):
    """Whether a node reports exchanges. reason: why it does not; "" if it does or is about to."""

    id: str
    state: NodeState
    reason: str = ""


class Listener(Protocol):
    """Receives what an observation brings."""

    def received(self, exchange: bytes) -> None:
        """One exchange."""

    def missed(self, count: int) -> None:
        """So many were dropped by a node."""

    def changed(self) -> None:
        """Which nodes report, or whether more is to come, may have changed."""


class Reader(Protocol):
    """Receives a document of one node."""

    def piece(self, data: bytes) -> None:
        """What comes next."""

    def ended(self, refused: str) -> None:
        """No more comes. refused: why it is not whole; "" where it is."""


class Observation(msgspec.Struct, eq=False):
    """What nodes are asked: exchanges that fit the filter. kept: those that they have, else those that end from now on.

    until: the time of the event loop until which nodes only keep exchanges; None: they send them to a watching client.
    """

    id: int
    filter: bytes
    kept: bool = False
    until: float | None = None
    listeners: list[Listener] = msgspec.field(default_factory=list)
    waits_for: set[ObservingNode] = msgspec.field(default_factory=set)
    """Of a kept one: the nodes that were asked and have not answered yet."""
    refused: dict[str, str] = msgspec.field(default_factory=dict)
    """By node: why it refused."""
    begun: set[ObservingNode] = msgspec.field(default_factory=set)
    """Of one that is neither kept nor has an end: the nodes that have said that they record."""

    @property
    def is_live(self) -> bool:
        """Whether nodes send exchanges as they end."""
        return not self.kept and self.until is None


class ObservingNode:
    """A node's stream: what it is still to be sent, in order."""

    def __init__(self, node_id: str, documents: Iterable[int] = ()) -> None:
        self.id = node_id
        self.documents = frozenset(documents)
        """What it can be asked for: numbers of `node_pb2.Document`."""
        self._messages: asyncio.Queue[node_pb2.Observation | None] = asyncio.Queue()

    def send(self, message: node_pb2.Observation) -> None:
        """For its next turn."""
        self._messages.put_nowait(message)

    def end(self) -> None:
        """Nothing more is sent on this stream."""
        self._messages.put_nowait(None)

    async def messages(self) -> AsyncIterator[node_pb2.Observation]:
        """All that is sent, until the end."""
        while (message := await self._messages.get()) is not None:
            yield message


class Observations:
    """Connects watchers with nodes. Watchers with the same filter share one observation."""

    def __init__(self, deployment: Deployment, opening_seconds: float = OPENING_SECONDS) -> None:
        self._deployment = deployment
        self.opening_seconds = opening_seconds
        self._nodes: dict[str, ObservingNode] = {}
        self._observations: dict[int, Observation] = {}
        self._questions: dict[int, tuple[ObservingNode, Reader]] = {}
        self._last_id = 0
        self._unobserved_since: dict[str, float] = {}
        self._news = asyncio.Event()
        self.stopping = False

    # ------------------------------------------------------------ watchers

    def open(self, exchange_filter: bytes, listener: Listener, *, kept: bool = False, seconds: int = 0) -> Observation:
        """Asks all nodes, and those that connect while it is open. `close` it.

        seconds: for which nodes keep what fits and send nothing; such an observation is not shared. 0: they send it.
        """
        if not (kept or seconds) and (shared := self._shared(exchange_filter)):
            shared.listeners.append(listener)
            return shared
        self._last_id += 1
        until = asyncio.get_running_loop().time() + seconds if seconds else None
        observation = Observation(self._last_id, exchange_filter, kept, until, [listener])
        self._observations[observation.id] = observation
        for node in self._nodes.values():
            self._ask(node, observation)
        return observation

    def _shared(self, exchange_filter: bytes) -> Observation | None:
        for observation in self._observations.values():
            if observation.filter == exchange_filter and observation.is_live:
                return observation
        return None

    def close(self, observation: Observation, listener: Listener) -> None:
        """The listener receives nothing more; nodes stop if it was the last one."""
        observation.listeners.remove(listener)
        if observation.listeners:
            return
        del self._observations[observation.id]
        for node in self._nodes.values():
            node.send(node_pb2.Observation(id=observation.id, stop=True))

    def nodes(self, observation: Observation | None = None) -> list[ObservedNode]:
        """The connected nodes by name, and whether they report exchanges: those of the observation, if there is one."""
        return [self._state(name, observation) for name in sorted(self._deployment.nodes.keys() | self._nodes.keys())]

    def observed(self, node_id: str) -> ObservingNode | None:
        """The node's stream, where it has one."""
        return self._nodes.get(node_id)

    async def news(self) -> None:
        """Returns once the state of a node may have changed."""
        await self._news.wait()

    def ask(self, node: ObservingNode, document: int, reader: Reader) -> int:
        """Asks a node for one of its `documents`, and returns the question's number. `forget` it."""
        self._last_id += 1
        self._questions[self._last_id] = (node, reader)
        node.send(node_pb2.Observation(id=self._last_id, document=document))  # type: ignore[arg-type] # a number
        return self._last_id

    def forget(self, question: int) -> None:
        """Its reader receives nothing more."""
        self._questions.pop(question, None)

    def stop(self) -> None:
        """Ends the nodes' streams, and those of watchers."""
        self.stopping = True
        for node in self._nodes.values():
            node.end()
        self._notify()

    def _state(self, name: str, observation: Observation | None) -> ObservedNode:
        if (node := self._nodes.get(name)) is not None:
            if observation and name in observation.refused:
                return ObservedNode(name, "refused", observation.refused[name])
            is_asked = observation and observation.is_live and node not in observation.begun
            return ObservedNode(name, "connecting" if is_asked else "observed")
        now = asyncio.get_running_loop().time()
        if now - self._unobserved_since.get(name, now) < self.opening_seconds:
            return ObservedNode(name, "connecting")
        version = self._deployment.nodes[name].engine_version
        reason = f"its engine {version} cannot report exchanges; update the node to the controller's version"
        return ObservedNode(name, "unobserved", " ".join(reason.split()))

    # ------------------------------------------------------------ from the nodes

    def connect(self, node_id: str, documents: Iterable[int] = ()) -> ObservingNode:
        """A node's newest stream counts: an older one of the same id ends. It is asked all that is open."""
        node = ObservingNode(node_id, documents)
        if old := self._nodes.get(node_id):
            old.end()
            self._forget_node(old)
        self._nodes[node_id] = node
        for observation in self._observations.values():
            observation.refused.pop(node_id, None)
            self._ask(node, observation)
        self.nodes_changed()
        return node

    def disconnect(self, node: ObservingNode) -> None:
        """The node's stream has ended."""
        node.end()
        if self._nodes.get(node.id) is node:
            del self._nodes[node.id]
        self._forget_node(node)
        self.nodes_changed()

    def receive(self, node: ObservingNode, message: node_pb2.Observed) -> None:
        """What the node says of an observation, or to a question; nothing where that is closed meanwhile."""
        if (question := self._questions.get(message.observation)) is not None:
            _pass_answer(*question, node, message)
        if (observation := self._observations.get(message.observation)) is None:
            return
        _notify_listeners(observation.listeners, message)
        if message.refused:
            observation.refused[node.id] = message.refused
        if node not in observation.begun:
            observation.begun.add(node)
            self._notify()
        if message.ended:
            observation.waits_for.discard(node)
            self._notify()

    def nodes_changed(self) -> None:
        """A node has connected or disconnected. Watchers are notified, and again once it counts as unobserved."""
        loop = asyncio.get_running_loop()
        unobserved = self._deployment.nodes.keys() - self._nodes.keys()
        self._unobserved_since = {name: self._unobserved_since.get(name, loop.time()) for name in unobserved}
        if unobserved:
            loop.call_later(self.opening_seconds, self._notify)
        self._notify()

    def _ask(self, node: ObservingNode, observation: Observation) -> None:
        left = 0
        if observation.until is not None:
            left = max(1, round(observation.until - asyncio.get_running_loop().time()))
        asked = node_pb2.Observation(
            id=observation.id, filter=observation.filter, kept=observation.kept, seconds=left, record_only=left > 0
        )
        if observation.kept:
            observation.waits_for.add(node)
        node.send(asked)

    def _forget_node(self, node: ObservingNode) -> None:
        for observation in self._observations.values():
            observation.waits_for.discard(node)
            observation.begun.discard(node)
        for asked, reader in self._questions.values():
            if asked is node:
                reader.ended(DISCONNECTED)

    def _notify(self) -> None:
        self._news.set()
        self._news = asyncio.Event()
        for observation in self._observations.values():
            for listener in observation.listeners:
                listener.changed()


def _notify_listeners(listeners: Iterable[Listener], message: node_pb2.Observed) -> None:
    if message.dropped:
        for listener in listeners:
            listener.missed(message.dropped)
    for exchange in message.exchanges:
        for listener in listeners:
            listener.received(exchange)


def _pass_answer(asked: ObservingNode, reader: Reader, node: ObservingNode, message: node_pb2.Observed) -> None:
    if node is not asked:
        return
    if message.piece:
        reader.piece(message.piece)
    if message.ended:
        reader.ended(message.refused)
