"""Keeps new connections from a listener that is about to close, so that none is lost in its queue.

A connection that the kernel has established waits in the listener's queue until the process accepts it; if the
listener is closed before, the client's request is lost. Envoy's workers listen with SO_REUSEPORT, each on a socket of
its own (https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/listener/v3/listener.proto, enable_reuse_port). The
gate adds deaf sockets to this group, and a classic BPF program sends every new connection to one of them (socket(7),
SO_ATTACH_REUSEPORT_CBPF). There the kernel drops the client's SYN; the client sends it again a second later, and is
then refused, because no socket listens any more. Connections established before are accepted and served.

Deaf: such a socket requires a time to live that packets sent with the usual 64 or 128 never have (ip(7), IP_MINTTL).
None of this needs a capability; SO_ATTACH_FILTER, which could drop the SYN too, needs one on recent kernels.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from gatewright_cli.addresses import split_address

SO_ATTACH_REUSEPORT_CBPF = 51  # <asm-generic/socket.h>; Python has no names for these
IP_MINTTL = 21  # <linux/in.h>
IPV6_MINHOPCOUNT = 73  # <linux/in6.h>
HIGHEST_TTL = 255
RETURN = 0x06  # BPF_RET | BPF_K, <linux/bpf_common.h>
LISTENING = "0A"  # TCP_LISTEN, as /proc/net/tcp has it
HANDSHAKE_SECONDS = 0.2
CLOSING_SECONDS = 2.0
POLL_SECONDS = 0.01


class Instruction(NamedTuple):
    """Of a classic BPF program: code and operand (<linux/filter.h>, sock_filter)."""

    code: int
    operand: int = 0


def queues(address: str) -> dict[str, int]:
    """The number of connections waiting to be accepted, for each socket that listens on HOST:PORT, by its inode.

    In this network namespace (proc(5), /proc/net/tcp).
    """
    host, port = split_address(address)
    file, local = _proc_entry(host, port)
    rows = [line.split() for line in _lines(Path("/proc/net") / file)]
    return {row[9]: int(row[4].partition(":")[2], 16) for row in rows if row[3] == LISTENING and row[1] == local}


def accept_queues(address: str) -> list[int]:
    """The numbers of `queues`."""
    return list(queues(address).values())


def _proc_entry(host: str, port: int) -> tuple[str, str]:
    """The file of /proc/net that lists the address, and its form there: four-byte words in host order, in hex."""
    six = ":" in host
    packed = socket.inet_pton(socket.AF_INET6 if six else socket.AF_INET, host)
    words = struct.unpack(f"={len(packed) // 4}I", packed)
    return "tcp6" if six else "tcp", "".join(f"{word:08X}" for word in words) + f":{port:04X}"


class ListenerGate:
    """While shut, no new connection reaches sockets that listen on HOST:PORT with SO_REUSEPORT under our user. Close it
    afterwards.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._ours: list[socket.socket] = []

    def shut(self) -> None:
        """Raises OSError if the kernel does not allow it; then nothing has changed."""
        theirs = len(accept_queues(self._address))
        try:
            # As many sockets as Envoy has: when one of Envoy's closes, the last socket of the group takes its place,
            # so that number `theirs` is one of ours for as long as one of Envoy's is left.
            for _ in range(theirs):
                self._ours.append(deaf_listener(self._address))
            for listener in self._ours[:1]:
                attach(listener, [Instruction(RETURN, theirs)])
        except OSError:
            self.close()
            raise

    async def until_accepted(self) -> None:
        """Waits until the queues are empty, after a time for handshakes that had begun."""
        await asyncio.sleep(HANDSHAKE_SECONDS)
        while any(accept_queues(self._address)):
            await asyncio.sleep(POLL_SECONDS)

    async def until_gone(self) -> None:
        """Waits until only the gate's sockets listen."""
        while len(accept_queues(self._address)) > len(self._ours):
            await asyncio.sleep(POLL_SECONDS)

    def close(self) -> None:
        """Closes the gate's sockets. New connections are then refused if no other socket listens."""
        for listener in self._ours:
            listener.close()
        self._ours.clear()


async def briefly(step: Awaitable[None]) -> None:
    """Waits for the step, but no longer than CLOSING_SECONDS."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(CLOSING_SECONDS):
            await step


@contextlib.asynccontextmanager
async def closing(
    addresses: Iterable[str], waiting: Callable[[Awaitable[None]], Awaitable[None]] = briefly
) -> AsyncIterator[None]:
    """Gates the listeners at these HOST:PORTs while the body closes them, or leaves them open. waiting: bounds each of
    the two waits.

    If the kernel does not allow a gate, the few connections in the queue at that moment are lost.
    """
    gates = [ListenerGate(address) for address in addresses]
    try:
        for gate in gates:
            with contextlib.suppress(OSError):
                gate.shut()
        await waiting(_run_all(gate.until_accepted() for gate in gates))
        yield
        await waiting(_run_all(gate.until_gone() for gate in gates))
    finally:
        for gate in gates:
            gate.close()


async def _run_all(steps: Iterable[Coroutine[None, None, None]]) -> None:
    await asyncio.gather(*steps)


def deaf_listener(address: str) -> socket.socket:
    """A socket that listens on HOST:PORT with SO_REUSEPORT, and to which no client can connect. Raises OSError."""
    host, port = split_address(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        level, option = (socket.IPPROTO_IPV6, IPV6_MINHOPCOUNT) if ":" in host else (socket.IPPROTO_IP, IP_MINTTL)
        listener.setsockopt(level, option, HIGHEST_TTL)  # before it listens, and so joins the group
        listener.bind((host, port))
        listener.listen(1)
    except BaseException:
        listener.close()
        raise
    return listener


def attach(member: socket.socket, program: Sequence[Instruction]) -> None:
    """Has a program choose, by its number, the socket of the member's group that gets a new connection; a number that
    none has: the kernel chooses (<linux/filter.h>, sock_fprog). Raises OSError.
    """
    code = ctypes.create_string_buffer(
        b"".join(struct.pack("=HBBI", step.code, 0, 0, step.operand) for step in program)
    )
    member.setsockopt(
        socket.SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, struct.pack("@HP", len(program), ctypes.addressof(code))
    )


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()[1:]
    except FileNotFoundError:  # no IPv6 here
        return []
