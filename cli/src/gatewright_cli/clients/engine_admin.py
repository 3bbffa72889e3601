"""A client for the policy engine's admin socket."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec

from gatewright_cli.local_http import Answer, LocalClient, LocalHttpError

ENGINE_SOCKET = "engine-admin.sock"
GATEWAY_SECONDS = 30.0
HANDOVER_SECONDS = 30.0
DEPLOY_SECONDS = 1800.0  # the engine itself gives up on processes that do not get on


class Hung(msgspec.Struct, frozen=True, rename="camel"):
    """Hung executions of one attachment. oldest_ms: since its start. blocks_instance: they hold all its slots."""

    policy: str
    api: str
    instance: str
    count: int
    oldest_ms: int
    blocks_instance: bool


class ExecutorReport(msgspec.Struct, frozen=True, rename="camel"):
    """The engine's view of one executor process (ProcessStats in the engine).

    silent_ms: the time since its last answer to a health check. stalled: hung executions hold all its workers.
    """

    group: str
    address: str
    generation: int
    role: str
    connected: bool
    serving: bool
    pid: int
    workers: int
    under_way: int
    silent_ms: int
    stalled: bool
    memory_exhausted: bool
    thread_failed: bool
    executions_started: int
    workers_hung: int
    hung: list[Hung]


class Quarantined(msgspec.Struct, frozen=True, rename="camel"):
    """A policy instance under quarantine: `deaths` processes crashed while it ran. left_ms: until it is tried again.
    held_at: FILE:LINE at which it held an interpreter; "" if it did not.
    """

    group: str
    policy: str
    api: str
    instance: str
    deaths: int
    left_ms: int
    held_at: str = ""


class ExecutorsReport(msgspec.Struct, frozen=True):
    """The answer of GET /executors."""

    generation: int
    processes: list[ExecutorReport]
    quarantined: list[Quarantined]

    def at(self, address: str) -> ExecutorReport | None:
        """The process at an address (unix:/path); None if the engine has none there."""
        return next((process for process in self.processes if process.address == address), None)


class _Xds(msgspec.Struct, rename="camel"):
    """The present generations of Envoy's resources, and the newest ones that Envoy has acknowledged."""

    envoy_connected: bool
    cluster_generation: int
    clusters_confirmed: int
    listener_generation: int
    listeners_confirmed: int
    route_generation: int
    routes_confirmed: int


class FailingFile(msgspec.Struct, frozen=True):
    """A certificate or an authority (kind) whose files cannot be used; their previous content is served, if any."""

    kind: str
    name: str
    reason: str

    def __str__(self) -> str:
        return f"the files of the {self.kind} {self.name} cannot be used: {self.reason}"


class GatewayReport(msgspec.Struct, frozen=True, rename="camel"):
    """The state of the newest Gateway; "" if the engine has none yet.

    closed: listeners that wait for usable files.
    """

    state: str = ""
    reason: str = ""
    closed: Sequence[str] = ()
    failing_files: Sequence[FailingFile] = ()

    @property
    def refusal(self) -> str:
        """Why the newest Gateway is not served; "" if it is, or is not known yet."""
        return self.reason if self.state in ("rejected", "pending") else ""


class CertificateWarnings(msgspec.Struct, frozen=True):
    """When the engine warns of a certificate's end: after a share of its lifetime.

    renewed: by ACME, so that its file need not be replaced.
    """

    soon: datetime
    urgent: datetime
    renewed: bool = False

    def stage(self, now: datetime) -> str:
        """ "urgent", "soon", or "" if its end is far away."""
        return "urgent" if now >= self.urgent else "soon" if now >= self.soon else ""


class _Node(msgspec.Struct, frozen=True):
    apis: int = 0
    gateway: GatewayReport = GatewayReport()
    certificates: dict[str, CertificateWarnings] = {}


class About(msgspec.Struct, frozen=True, omit_defaults=True):
    """The subject of a note. kind: api, policy (name:version), listener, certificate, authority, metrics (a process),
    store or state. api: the policy's API.
    """

    kind: str
    name: str
    api: str = ""


class Note(msgspec.Struct, frozen=True):
    """A problem of a node, in the engine's words (GET /notes); the Inspector shows the same notes.

    party: the responsible party: upstream, policy, operator or gateway. degraded: whether it makes the node degraded.
    title, reason and cure begin in lower case and end without a full stop.
    """

    severity: str
    code: str
    party: str
    degraded: bool
    about: About
    title: str
    reason: str
    cure: str


class _HasXds(msgspec.Struct):
    xds: _Xds


class Store(msgspec.Struct, frozen=True):
    """The store of policies. valkey: HOST:PORT, "" if entries are in the engine. away: why Valkey does not answer."""

    valkey: str = ""
    away: str = ""


class EngineStats(msgspec.Struct, frozen=True, rename="camel"):
    """The part of GET /stats that the status of a run shows.

    listener: HOST:PORT of the node's admin listener, "" for none. metrics_failing: the processes that returned no
    metrics at the last scrape, with the reason. node.apis: how many APIs Envoy serves.
    """

    listener: str = ""
    store: Store = Store()
    metrics_failing: dict[str, str] = {}
    node: _Node = _Node()


class SecretNames(msgspec.Struct, frozen=True, rename="camel"):
    """The Gateway's list of secret names."""

    headers: tuple[str, ...] = ()
    query_parameters: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()


class LogSettings(msgspec.Struct, frozen=True):
    """exporting: whether log lines go to a collector. redaction: the secret names; None if the Gateway has none."""

    exporting: bool
    redaction: SecretNames | None = None


DrainPhase = Literal["serving", "draining", "drained", "opening", "stopping"]


class DrainWish(msgspec.Struct, frozen=True, rename="camel"):
    """Whether no listener of the node is to be open. accept_seconds: how long they stay open once it is not ready."""

    drained: bool
    accept_seconds: float = 0.0


class _Refusal(msgspec.Struct):
    reason: str


class EngineRefusedError(Exception):
    """The engine refused a request; its previous state stays. The message says why."""


class EngineAdmin:
    """The admin socket of the engine."""

    def __init__(self, socket: Path) -> None:
        self._client = LocalClient(socket)

    async def executors(self) -> ExecutorsReport:
        """Raises LocalHttpError where the engine gives no answer."""
        answer = await self._client.get("/executors")
        answer.raise_for_status()
        return msgspec.json.decode(answer.content, type=ExecutorsReport)

    async def notes(self) -> list[Note]:
        """The node's problems. Raises LocalHttpError if the engine gives no answer."""
        answer = await self._client.get("/notes")
        answer.raise_for_status()
        return msgspec.json.decode(answer.content, type=list[Note])

    async def envoy_acknowledged_all(self) -> bool:
        """Whether Envoy has acknowledged the newest clusters, listeners and routes. False without an answer."""
        try:
            answer = await self._client.get("/stats")
            answer.raise_for_status()
        except LocalHttpError:
            return False
        xds = msgspec.json.decode(answer.content, type=_HasXds).xds
        acknowledged = (xds.clusters_confirmed, xds.listeners_confirmed, xds.routes_confirmed)
        wanted = (xds.cluster_generation, xds.listener_generation, xds.route_generation)
        return xds.envoy_connected and acknowledged == wanted

    async def stats(self) -> EngineStats:
        """The engine's stats; without an answer, those of an engine without problems."""
        try:
            answer = await self._client.get("/stats")
            answer.raise_for_status()
            return msgspec.json.decode(answer.content, type=EngineStats)
        except (LocalHttpError, msgspec.DecodeError):
            return EngineStats()

    async def gateway(self) -> GatewayReport:
        """The state of the engine's Gateway."""
        return (await self.stats()).node.gateway

    async def reload_gateway(self) -> None:
        """Has the engine read the Gateway's file again. Raises EngineRefusedError; then the listeners stay."""
        await self._order("/gateway", timeout=GATEWAY_SECONDS)

    async def set_log_level(self, component: str, level: str) -> None:
        """component: policy-engine, or python-executor for all executors. Raises EngineRefusedError."""
        await self._order("/log-level", {"component": component, "level": level})

    async def _order(self, path: str, order: Mapping[str, object] | None = None, timeout: float | None = None) -> None:
        """Posts an order. Raises EngineRefusedError if the engine refuses it."""
        try:
            answer = await self._client.post(path, json=order, timeout=timeout)
        except LocalHttpError as error:
            raise EngineRefusedError(f"the policy engine gave no answer ({error!r})") from error
        if answer.status_code != 200:
            raise EngineRefusedError(_reason(answer))

    async def logs(self) -> LogSettings:
        """The Gateway's settings for log lines. Raises LocalHttpError while the engine does not know them."""
        answer = await self._client.get("/logs")
        answer.raise_for_status()
        return msgspec.json.decode(answer.content, type=LogSettings)

    async def export_logs(self, lines: bytes) -> None:
        """Has the engine send log lines to its collector. Raises LocalHttpError; then it has taken none."""
        answer = await self._client.request("POST", "/logs", content=lines)
        answer.raise_for_status()

    async def report_drain(self, phase: DrainPhase) -> DrainWish:
        """Reports how far a drain of the node is, and returns what is wanted. Raises LocalHttpError."""
        answer = await self._client.post("/drain", json={"phase": phase})
        answer.raise_for_status()
        return msgspec.json.decode(answer.content, type=DrainWish)

    async def hand_over(self, *, away: bool) -> None:
        """Has the engine leave the node's updates to another one, which may start once this returns; or go on with
        them, if the other one did not start. Raises EngineRefusedError.
        """
        await self._order("/handover", {"away": away}, HANDOVER_SECONDS)

    async def record_hold(self, address: str, pid: int, policy: str, at: str) -> None:
        """Has the engine put a policy under quarantine that holds the interpreter of a process at FILE:LINE, if it has
        an execution there. Raises EngineRefusedError.
        """
        hold = {"address": address, "pid": pid, "policy": policy, "at": at}
        await self._order("/executors/hold", hold)

    async def deploy(
        self,
        generation: int,
        manifest: Path,
        executors: Mapping[str, Sequence[str]],
        superseded: Sequence[str] = (),
    ) -> None:
        """Returns when these executors serve. Raises EngineRefusedError; then nothing has changed."""
        order = {
            "generation": generation,
            "manifest": str(manifest),
            "executors": executors,
            "superseded": list(superseded),
        }
        await self._order("/executors", order, DEPLOY_SECONDS)


def notes(socket: Path) -> list[Note]:
    """The node's problems; none if the engine gives no answer."""
    try:
        return asyncio.run(EngineAdmin(socket).notes())
    except (LocalHttpError, msgspec.DecodeError):
        return []


def quarantined(socket: Path) -> list[object]:
    """The policy instances under quarantine, as JSON objects; none if the engine gives no answer."""
    try:
        report = asyncio.run(EngineAdmin(socket).executors())
    except (LocalHttpError, msgspec.DecodeError):
        return []
    return [msgspec.to_builtins(instance) for instance in report.quarantined]


def stats(socket: Path) -> EngineStats:
    """The engine's stats; without an answer, those of an engine without problems."""
    return asyncio.run(EngineAdmin(socket).stats())


def _reason(answer: Answer) -> str:
    try:
        return msgspec.json.decode(answer.content, type=_Refusal).reason
    except msgspec.DecodeError:
        return f"the policy engine answered {answer.status_code} {answer.text[:500]}"
