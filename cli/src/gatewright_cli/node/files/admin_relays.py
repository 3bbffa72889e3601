"""The supervisor's sockets in front of those of processes that cannot check their peers, such as Envoy."""

from __future__ import annotations

from pathlib import Path

from gatewright_controller.local.relay import Relay, Unnamed

from gatewright_cli.node.files.peers import Peers
from gatewright_cli.supervision.logs.output import LogOutput
from gatewright_cli.supervision.specs import ProcessSpec


class AdminRelays:
    """The relays of a run, by their path. Open one before its process starts; close all at the end."""

    def __init__(self, peers: Peers, output: LogOutput) -> None:
        self._peers, self._output = peers, output
        self._relays: dict[Path, Relay] = {}

    async def open(self, spec: ProcessSpec) -> None:
        """Makes the relay of a process, if its spec has one. Raises OSError."""
        if spec.relay is not None:
            check = self._peers.engines_check(spec.relay, self._output)
            self._relays[spec.relay] = relay = Relay(spec.relay, Unnamed(spec.sockets[0]), check)
            await relay.start()

    def exchange(self, first: ProcessSpec, second: ProcessSpec) -> None:
        """The processes behind the relays of two specs change places."""
        if first.relay is not None and second.relay is not None:
            self._relays[first.relay].exchange(self._relays[second.relay])

    async def close(self, spec: ProcessSpec) -> None:
        """Closes the relay of a spec, if it has an open one."""
        if spec.relay is not None and (relay := self._relays.pop(spec.relay, None)) is not None:
            await relay.close()

    async def close_all(self) -> None:
        """Closes those that are open."""
        while self._relays:
            _, relay = self._relays.popitem()
            await relay.close()
