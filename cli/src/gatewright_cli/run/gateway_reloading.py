"""A reload of what a node listens on: gateway.yaml read again → checked → the controller, or the engine, told.

What is refused, by us or by Envoy, leaves the listeners as they were.
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

from gatewright_cli.node import certificate_files, gateway, listener_gate, ports
from gatewright_cli.node.engine_admin import EngineAdmin, EngineRefusedError
from gatewright_cli.node.gateway import Gateway, GatewayError
from gatewright_cli.node.management import DEPLOYED, REJECTED, DeployError, Management
from gatewright_cli.node.run_dir import RunDir
from gatewright_cli.supervision.launch_plan import launch_command
from gatewright_cli.supervision.orphans import Orphans


@dataclass(frozen=True)
class GatewaySource:
    """Where a Gateway comes from: its file, which may come later, None where there is no place for one; the options
    over it; and what was made of both at first.

    state_dir: has what is obtained by ACME.
    """

    file: Path | None = None
    options: Mapping[str, object] = field(default_factory=dict)
    first: Gateway = field(default_factory=Gateway)
    state_dir: Path = field(default_factory=Path)


class GatewayRefusedError(Exception):
    """The listeners go on as they were: `reasons` has a sentence for each mistake."""

    def __init__(self, reasons: list[str]) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = reasons


@dataclass(frozen=True)
class Prepared:
    """Another Gateway, checked as far as it can be without Envoy. rendered: in base64. notes: of files that it has not
    changed and that cannot be used."""

    gateway: Gateway
    rendered: str
    notes: Sequence[str] = ()


class GatewayReloads:
    """Reloads of one run's Gateway, one at a time. management: of its controller; None where it has none."""

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
        self._udp = _over_udp(source.first)
        self.current = source.first
        """What the node listens on now."""

    async def prepare(self) -> Prepared | None:
        """Raises GatewayRefusedError. None where there has been no file, or nothing has changed in it."""
        if self._source.file is None or not (self.current.source or self._source.file.exists()):
            return None
        found = await self._find_out()
        try:
            read = gateway.gateway_from_json(found)
        except GatewayError as error:
            raise GatewayRefusedError(error.mistakes) from error
        if read.document == self.current.document:
            return None
        unobtained = certificate_files.unobtained(read, controller=self._management is not None)
        changed, unchanged = certificate_files.mistakes_beside(read, self.current)
        if mistakes := [*changed, *unobtained, *self._obstacles(read)]:
            raise GatewayRefusedError(mistakes)
        notes = [f"{sentence}; what the files held before is still served, if anything" for sentence in unchanged]
        return Prepared(read, found["rendered"], notes)

    async def apply(self, prepared: Prepared) -> list[str]:
        """A sentence for each thing that somebody may want to know. Raises GatewayRefusedError."""
        before = self.current
        gateway.write_document(self._run_dir, prepared.gateway)
        kept = (self._run_dir.path / gateway.RENDERED).read_bytes()
        gateway.write_rendered(self._run_dir, prepared.rendered)
        try:
            async with listener_gate.closing(_given_up(before, prepared.gateway)):
                notes = await self._tell()
        except (DeployError, EngineRefusedError) as error:
            gateway.write_document(self._run_dir, before)
            self._run_dir.write_bytes(gateway.RENDERED, kept)
            with contextlib.suppress(DeployError, EngineRefusedError):  # they say in their status what they have
                await self._tell()  # else what is pending would be listened on some day
            raise GatewayRefusedError(str(error).splitlines()) from error
        self.current = prepared.gateway
        self._udp |= _over_udp(prepared.gateway)
        return [*prepared.notes, *notes]

    async def _tell(self) -> list[str]:
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
        """Who has the ports that are not ours yet. Where we listen on a part of an address, Envoy finds out itself."""
        others = [one for one in read.listeners if not any(map(one.overlaps, self.current.listeners))]
        found = [(one.name, ports.obstacle(one.host, one.port)) for one in others]
        drained = self._udp  # Envoy keeps a port of UDP for as long as connections of it are drained
        over_udp = [one for one in read.listeners if one.http3 and (one.host, one.port) not in drained]
        found += [(one.name, ports.obstacle(one.host, one.port, udp=True)) for one in over_udp]
        return [f"{said}: choose another in {self._source.file}, listener {name}" for name, said in found if said]

    async def _find_out(self) -> dict[str, Any]:
        """In a process of its own: the supervisor holds none of Envoy's types, and has threads: it does not fork."""
        own = (sys.executable, "-m", "gatewright_cli.node.gateway_process")
        with self._orphans.starting() as started:
            process = await asyncio.create_subprocess_exec(
                *launch_command(own), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE, start_new_session=True,
            )  # fmt: skip
            started(process.pid)
        source = self._source
        asked = json.dumps(
            {"file": str(source.file), "options": dict(source.options), "stateDir": str(source.state_dir)}
        )
        try:
            said, wrong = await process.communicate(asked.encode())
        except asyncio.CancelledError:
            process.kill()
            await process.wait()
            raise
        if process.returncode != 0:
            fault = wrong.decode(errors="replace")[-500:]
            raise GatewayRefusedError([f"{self._source.file} was not read, by a fault of Gatewright's own: {fault}"])
        found: dict[str, Any] = json.loads(said)
        return found


def _given_up(before: Gateway, after: Gateway) -> list[str]:
    """Where nobody will listen any more."""
    gone = [one for one in before.listeners if not any(map(one.overlaps, after.listeners))]
    return [ports.join_address(one.host, one.port) for one in gone]


def _over_udp(listening: Gateway) -> set[tuple[str, int]]:
    """Host and port of each listener with HTTP/3."""
    return {(one.host, one.port) for one in listening.listeners if one.http3}
