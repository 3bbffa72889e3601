"""Hands listeners on from one process to another beside it, so that no connection is lost or refused.

Envoy's workers listen with SO_REUSEPORT, so a second Envoy of the same user can listen on the same ports, and the
kernel spreads new connections over the sockets of both. Connections in the queue of a socket that closes are reset
(unless net.ipv4.tcp_migrate_req is set, which it is nowhere by default). So a classic BPF program says where new
connections go (socket(7), SO_ATTACH_REUSEPORT_CBPF): to the first process, whatever else listens, until the second one
serves; then to the second one alone, while the first accepts those in its queues and closes its sockets.

The kernel numbers the sockets of a port in the order in which they began to listen, and puts the last one into the
place of one that closes. With N sockets of the first process, number N is the first socket of the second process, and
stays that until all N are closed, if the second has as many: Envoys of one node have the same number of workers.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Sequence

from gatewright_cli.node.listeners import listener_gate
from gatewright_cli.node.listeners.listener_gate import HANDSHAKE_SECONDS, POLL_SECONDS, Instruction

SO_DETACH_REUSEPORT_BPF = 68  # <asm-generic/socket.h>
LOAD_RANDOM = Instruction(0x20, 0xFFFFF000 + 56)  # BPF_LD | BPF_W | BPF_ABS, SKF_AD_OFF + SKF_AD_RANDOM
MODULO, RETURN_A, RETURN = 0x94, Instruction(0x16), 0x06  # BPF_ALU | BPF_MOD | BPF_K, BPF_RET | BPF_A, BPF_RET | BPF_K


class ListenerHandover:
    """The sockets that listen on HOST:PORT. keep → the second process listens → pass_on → the first closes → close.

    If the kernel does not allow it, or no socket of the second process listens there, connections in the first
    process's queues may be lost when it closes them.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._theirs: frozenset[str] = frozenset()
        self._member: socket.socket | None = None

    def keep(self) -> None:
        """New connections go to the sockets that listen now, also once there are others."""
        self._theirs = frozenset(listener_gate.queues(self._address))
        if not self._theirs:
            return
        with contextlib.suppress(OSError), listener_gate.deaf_listener(self._address) as member:
            listener_gate.attach(member, [LOAD_RANDOM, Instruction(MODULO, len(self._theirs)), RETURN_A])

    def pass_on(self) -> None:
        """New connections go to the other sockets, if there are any and the first process has not ended."""
        listening = listener_gate.queues(self._address).keys()
        if not self._theirs or not self._theirs < listening:
            return
        with contextlib.suppress(OSError):
            self._member = listener_gate.deaf_listener(self._address)
            listener_gate.attach(self._member, [Instruction(RETURN, len(self._theirs))])

    async def until_accepted(self) -> None:
        """Waits until the queues of the first process are empty, after a time for handshakes that had begun."""
        await asyncio.sleep(HANDSHAKE_SECONDS)
        while any(self._waiting()):
            await asyncio.sleep(POLL_SECONDS)

    async def until_gone(self) -> None:
        """Waits until the first process listens no more."""
        while self._theirs & listener_gate.queues(self._address).keys():
            await asyncio.sleep(POLL_SECONDS)

    def close(self) -> None:
        """The kernel spreads connections over all sockets again. It may be called at any time, and again."""
        if not self._theirs:
            return
        with contextlib.suppress(OSError):
            member = self._member or listener_gate.deaf_listener(self._address)
            with member:
                member.setsockopt(socket.SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, 0)
        self._member, self._theirs = None, frozenset()

    def _waiting(self) -> Sequence[int]:
        return [queue for inode, queue in listener_gate.queues(self._address).items() if inode in self._theirs]
