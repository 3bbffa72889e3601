"""A reload of the Gateway: reads gateway.yaml again → checks it → has the controller, or the engine, apply it.

A Gateway that the run or Envoy refuses leaves the listeners as they were.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gatewright_cli import addresses
from gatewright_cli.clients.controller_refusals import DeployError
from gatewright_cli.clients.engine_admin import EngineAdmin, EngineRefusedError
from gatewright_cli.clients.management import DEPLOYED, REJECTED, Management
from gatewright_cli.node.files.run_dir import RunDir
from gatewright_cli.node.listeners import certificate_files, gateway, listener_gate, ports
from gatewright_cli.node.listeners.gateway import Gateway, GatewayError
from gatewright_cli.supervision.launch_plan import launch_command
from gatewright_cli.supervision.orphans import Orphans


@dataclass(frozen=True)
class GatewaySource:
    """Where a Gateway comes from. file: its file, which may not exist yet; None: the run has no place for one.
    options: those that override the file. first: the Gateway of both at the start. state_dir: has certificates by ACME.
    """

    file: Path | None = None
    options: Mapping[str, object] = field(default_factory=dict)
    first: Gateway = field(default_factory=Gateway)
    state_dir: Path = field(default_factory=Path)


class GatewayRefusedError(Exception):
    """The Gateway was refused, and the old one stays: `reasons` has a sentence for each mistake."""

    def __init__(self, reasons: list[str]) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = reasons


@dataclass(frozen=True)
class Prepared:
    """A new Gateway, checked as far as possible without Envoy. rendered: in base64. notes: on unchanged files that
    cannot be used.
    """

    gateway: Gateway
    rendered: str
    notes: Sequence[str] = ()


class GatewayReloads:
    """Reloads of one run's Gateway, one at a time. management: of its controller; None without one."""

    def __init__(
        self,
        source: GatewaySource,
        run_dir: RunDir,
        management: Management | None,
        admin: EngineAdmin,
        orphans: Orphans,
    ) -> None:
        self._source, self._run_dir, self._orphans = source, run_dir, orphans
        self._management, self._admin = management, admin
        self._udp = _udp_places(source.first)
        self.current = source.first
        """The Gateway that the node serves now."""

    async def prepare(self) -> Prepared | None:
        """Reads and checks the Gateway. None if there was never a file, or nothing has changed in it. Raises
        GatewayRefusedError.
        """
        if self._source.file is None or not (self.current.source or self._source.file.exists()):
            return None
        if await asyncio.to_thread(self._is_unchanged, self._source.file):
            return None
        effective = await self._read_effective()
        try:
            new = gateway.gateway_from_json(effective)
        except GatewayError as error:
            raise GatewayRefusedError(error.mistakes) from error
        if new.document == self.current.document:
            return None
        unobtained = certificate_files.unobtained(new, controller=self._management is not None)
        changed, unchanged = certificate_files.mistakes_beside(new, self.current)
        if mistakes := [*changed, *unobtained, *self._obstacles(new)]:
            raise GatewayRefusedError(mistakes)
        notes = [f"{sentence}; what the files held before is still served, if anything" for sentence in unchanged]
        return Prepared(new, effective["rendered"], notes)

    def _is_unchanged(self, file: Path) -> bool:
        """Whether the file holds what it held when it was read; options and environment stay the same in a run."""
        try:
            return bool(self.current.file_digest) and gateway.digest_of(file.read_bytes()) == self.current.file_digest
        except OSError:
            return False  # the reader says why

    async def apply(self, prepared: Prepared) -> list[str]:
        """Applies the Gateway, and returns its notes. Raises GatewayRefusedError."""
        before = self.current
        gateway.write_document(self._run_dir, prepared.gateway)
        rendered_before = (self._run_dir.path / gateway.RENDERED).read_bytes()
        gateway.write_rendered(self._run_dir, prepared.rendered)
        try:
            async with listener_gate.closing(_closed_addresses(before, prepared.gateway)):
                notes = await self._reload()
        except (DeployError, EngineRefusedError) as error:
            gateway.write_document(self._run_dir, before)
            self._run_dir.write_bytes(gateway.RENDERED, rendered_before)
            with contextlib.suppress(DeployError, EngineRefusedError):  # their status shows what they serve
                await self._reload()  # else a pending Gateway would be applied later
            raise GatewayRefusedError(str(error).splitlines()) from error
        self.current = prepared.gateway
        self._udp |= _udp_places(prepared.gateway)
        return [*prepared.notes, *notes]

    async def _reload(self) -> list[str]:
        if self._management is None:
            await self._admin.reload_gateway()
            return []
        status = await self._management.reload_gateway()
        if status.state == REJECTED:
            raise DeployError(f"the Gateway is refused: {status.reason}")
        cure = "changes only with a restart of the run; until then its old value applies"
        waits = [f"{name} {cure}" for name in status.change.restart]
        return waits + ([f"the Gateway is {status.state}: {status.reason}"] if status.state != DEPLOYED else [])

    def _obstacles(self, read: Gateway) -> list[str]:
        """Mistakes for new ports that are taken. Ports that overlap with those of this node are left to Envoy."""
        new = [listener for listener in read.listeners if not any(map(listener.overlaps, self.current.listeners))]
        obstacles = [(listener.name, ports.obstacle(listener.host, listener.port)) for listener in new]
        drained = self._udp  # Envoy keeps a UDP port for as long as it drains connections of it
        new_udp = [listener for listener in read.listeners if listener.http3 and _place(listener) not in drained]
        obstacles += [(listener.name, ports.obstacle(listener.host, listener.port, udp=True)) for listener in new_udp]
        cure = f"choose another in {self._source.file}, listener"
        return [f"{obstacle}: {cure} {name}" for name, obstacle in obstacles if obstacle]

    async def _read_effective(self) -> dict[str, Any]:
        """Reads and renders the Gateway in a process of its own: the supervisor does not load Envoy's types, and cannot
        fork, since it has threads.
        """
        own = (sys.executable, "-m", "gatewright_cli.node.listeners.gateway_process")
        with self._orphans.starting() as started:
            process = await asyncio.create_subprocess_exec(
                *launch_command(own), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE, start_new_session=True,
            )  # fmt: skip
            started(process.pid)
        source = self._source
        request = json.dumps(
            {"file": str(source.file), "options": dict(source.options), "stateDir": str(source.state_dir)}
        )
        try:
            answer, errors = await process.communicate(request.encode())
        except asyncio.CancelledError:
            process.kill()
            await process.wait()
            raise
        if process.returncode != 0:
            fault = errors.decode(errors="replace")[-500:]
            raise GatewayRefusedError([f"{self._source.file} was not read, by a fault of Gatewright's own: {fault}"])
        effective: dict[str, Any] = json.loads(answer)
        return effective


def _closed_addresses(before: Gateway, after: Gateway) -> list[str]:
    """HOST:PORT of each listener that the new Gateway closes."""
    closed = [listener for listener in before.listeners if not any(map(listener.overlaps, after.listeners))]
    return [addresses.join_address(listener.host, listener.port) for listener in closed]


def _udp_places(listening: Gateway) -> set[tuple[str, int]]:
    """Host and port of each listener with HTTP/3."""
    return {_place(listener) for listener in listening.listeners if listener.http3}


def _place(listener: gateway.Listener) -> tuple[str, int]:
    return listener.host, listener.port
