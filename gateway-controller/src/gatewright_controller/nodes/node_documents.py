"""Documents that nodes report about themselves, each on request: metrics, counters, chains, clusters, notes.

Clients that ask at once, or within a second, share one request to the node.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Literal

from gatewright_documents.mistake import listed

from gatewright_controller._gen import node_pb2
from gatewright_controller.nodes.deployment import Deployment
from gatewright_controller.nodes.observations import Observations, ObservingNode

DOCUMENTS: dict[str, int] = {
    "chains": node_pb2.DOCUMENT_CHAINS,
    "clusters": node_pb2.DOCUMENT_CLUSTERS,
    "metrics": node_pb2.DOCUMENT_METRICS,
    "notes": node_pb2.DOCUMENT_NOTES,
    "stats": node_pb2.DOCUMENT_STATS,
}
"""By the name that they have in the management API."""
Why = Literal["unknown", "unsupported", "refused", "disconnected", "silent"]
"""unknown: no such node is connected. unsupported: its engine has no such document. refused: the node says why."""


@dataclass(frozen=True)
class DocumentLimits:
    """What a question may take."""

    answer_seconds: float = 5.0
    fresh_seconds: float = 1.0
    """How old an answer may be that others are given too."""
    most_bytes: int = 16 * 1024 * 1024
    most_at_once: int = 8
    """Questions under way, of all nodes: what they bring is held until it has been sent."""


class NoDocumentError(Exception):
    """The node reports no document; the message has the reason and the cure."""

    def __init__(self, why: Why, message: str) -> None:
        self.why = why
        super().__init__(message)


class _Document:
    """A document as it comes."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self.pieces: list[bytes] = []
        self.size = 0
        self.refused = ""
        self.whole = asyncio.Event()

    def piece(self, data: bytes) -> None:
        self.size += len(data)
        if self.size > self._most_bytes:
            self.pieces.clear()
            self.ended(f"expected at most {self._most_bytes} bytes, got more; ask the node itself")
        elif not self.whole.is_set():
            self.pieces.append(data)

    def ended(self, refused: str) -> None:
        self.refused = self.refused or refused
        self.whole.set()


class NodeDocuments:
    """All questions of a controller's clients to its nodes."""

    def __init__(
        self, observations: Observations, deployment: Deployment, limits: DocumentLimits = DocumentLimits()
    ) -> None:
        self._observations, self._deployment, self._limits = observations, deployment, limits
        self._answers: dict[tuple[str, str], asyncio.Task[bytes]] = {}
        self._places = asyncio.Semaphore(limits.most_at_once)

    def documents_of(self, node_id: str) -> list[str]:
        """Names of the documents that the node can be asked for now."""
        node = self._observations.observed(node_id)
        return [name for name, number in DOCUMENTS.items() if node and number in node.documents]

    async def get(self, node_id: str, name: str) -> bytes:
        """One of `DOCUMENTS` as the node reports it, at most a second old. Raises `NoDocumentError`."""
        key = (node_id, name)
        if (answer := self._answers.get(key)) is None:
            answer = self._answers[key] = asyncio.create_task(self._ask(node_id, name), name=f"{name} of {node_id}")
            answer.add_done_callback(lambda done: self._keep(key, done))
        return await asyncio.shield(answer)  # others may wait for it too

    def _keep(self, key: tuple[str, str], answer: asyncio.Task[bytes]) -> None:
        if answer.cancelled() or answer.exception():
            del self._answers[key]
        else:
            asyncio.get_running_loop().call_later(self._limits.fresh_seconds, self._answers.pop, key)

    async def _ask(self, node_id: str, name: str) -> bytes:
        document, question, seconds = _Document(self._limits.most_bytes), 0, self._limits.answer_seconds
        try:
            async with asyncio.timeout(seconds), self._places:
                node = await self._reporting_node(node_id, name)
                question = self._observations.ask(node, DOCUMENTS[name], document)
                await document.whole.wait()
        except TimeoutError:
            detail = f"expected an answer of node {node_id} within {seconds:g} s, got none; is it overloaded?"
            raise NoDocumentError("silent", detail) from None
        finally:
            self._observations.forget(question)
        if document.refused:
            why: Why = "disconnected" if self._observations.observed(node_id) is not node else "refused"
            raise NoDocumentError(why, f"node {node_id} does not report its {name}: {document.refused}")
        return b"".join(document.pieces)

    async def _reporting_node(self, node_id: str, name: str) -> ObservingNode:
        """The node, once its stream is there, which comes soon after its other one."""
        while (node := self._observations.observed(node_id)) is None:
            states = {node_state.id: node_state for node_state in self._observations.nodes()}
            if node_id not in states:
                known = listed(sorted(states)) if states else "none"
                raise NoDocumentError("unknown", f"no node {node_id} is connected; those that are: {known}")
            if states[node_id].state != "connecting":
                break
            await self._observations.news()
        if node is not None and DOCUMENTS[name] in node.documents:
            return node
        known_node = self._deployment.nodes.get(node_id)
        engine = " ".join(f"its engine {known_node.engine_version if known_node else ''}".split())
        cure = "update the node to the controller's version"
        raise NoDocumentError("unsupported", f"node {node_id} cannot report its {name}: {engine} is too old; {cure}")
