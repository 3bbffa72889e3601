"""The filter's decisions, for both machines: the program is run here as the kernel runs it (linux/filter.h)."""

from __future__ import annotations

import socket
import struct

import pytest
from gatewright_cli.isolation.seccomp import ALLOW, MACHINES, REFUSED, UNKNOWN, X32_BIT, Sockets, program
from gatewright_cli.isolation.syscalls import NUMBERS
from hypothesis import given, settings
from hypothesis import strategies as st

NONE = Sockets(streams=False, datagrams=False)
CLONE_NEWUSER, SOCK_CLOEXEC, MSG_FASTOPEN = 0x10000000, 0o2000000, 0x20000000


def decide(code: bytes, audit: int, number: int, *arguments: int) -> int:
    """What the program returns for a call: struct seccomp_data in, an action out."""
    data = struct.pack("=IIQ6Q", number, audit, 0, *arguments, *[0] * (6 - len(arguments)))
    instructions: list[tuple[int, int, int, int]] = list(struct.iter_unpack("=HBBI", code))
    at = accumulator = 0
    while True:
        operation, if_true, if_false, value = instructions[at]
        at += 1
        match operation:
            case 0x20:
                (accumulator,) = struct.unpack_from("=I", data, value)
            case 0x54:
                accumulator &= value
            case 0x15:
                at += if_true if accumulator == value else if_false
            case 0x35:
                at += if_true if accumulator >= value else if_false
            case 0x06:
                return value
            case _:
                raise AssertionError(operation)


class Filter:
    def __init__(self, machine: str, sockets: Sockets, attributes: bool = True) -> None:
        self.audit, self.column = MACHINES[machine]
        self.code = program(machine, sockets, attributes=attributes)

    def __call__(self, name: str, *arguments: int) -> int:
        number = NUMBERS[name][self.column]
        assert number is not None, name
        return decide(self.code, self.audit, number, *arguments)


@pytest.fixture(params=sorted(MACHINES))
def machine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("name", ["ptrace", "bpf", "mount", "unshare", "io_uring_setup", "keyctl", "shmget", "kcmp"])
def test_calls_that_are_always_refused(machine: str, name: str) -> None:
    assert Filter(machine, Sockets(unix=True))(name) == REFUSED


def test_other_calls_are_allowed_and_clone3_does_not_exist(machine: str) -> None:
    decided = Filter(machine, NONE)
    assert decide(decided.code, decided.audit, 9999) == ALLOW
    assert decided("clone3") == UNKNOWN


def test_another_abi_of_the_machine_is_refused(machine: str) -> None:
    decided = Filter(machine, Sockets())
    assert decide(decided.code, 0x40000003, 9999) == REFUSED  # i386
    if machine == "x86_64":
        assert decide(decided.code, decided.audit, X32_BIT | 1) == REFUSED


def test_threads_and_processes_yes_namespaces_no(machine: str) -> None:
    decided = Filter(machine, NONE)
    assert [decided("clone", flags) for flags in (17, 17 | CLONE_NEWUSER)] == [ALLOW, REFUSED]


def test_a_process_may_change_its_own_priority_alone(machine: str) -> None:
    decided = Filter(machine, NONE)
    assert [decided("sched_setscheduler", pid) for pid in (0, 7)] == [ALLOW, REFUSED]
    assert [decided("setpriority", 0, pid) for pid in (0, 7)] == [ALLOW, REFUSED]
    assert [decided("ioprio_set", 1, pid) for pid in (0, 7)] == [ALLOW, REFUSED]


@settings(deadline=None)
@given(st.booleans(), st.booleans(), st.booleans(), st.sampled_from(sorted(MACHINES)))
def test_sockets_are_those_that_were_asked_for(streams: bool, datagrams: bool, unix: bool, machine: str) -> None:
    decided = Filter(machine, Sockets(streams, datagrams, unix))
    for family in (socket.AF_INET, socket.AF_INET6):
        tcp, udp = (family, socket.SOCK_STREAM | SOCK_CLOEXEC, 0), (family, socket.SOCK_DGRAM, socket.IPPROTO_UDP)
        assert (decided("socket", *tcp) == ALLOW) == streams
        assert (decided("socket", *udp) == ALLOW) == datagrams
        assert decided("socket", family, socket.SOCK_RAW, 0) == REFUSED
    assert (decided("socket", socket.AF_UNIX, socket.SOCK_STREAM, 0) == ALLOW) == unix
    assert (decided("socket", socket.AF_NETLINK, socket.SOCK_RAW, 0) == ALLOW) == (streams or datagrams)
    assert decided("socket", socket.AF_NETLINK, socket.SOCK_RAW, 9) == REFUSED
    assert decided("socketpair", socket.AF_UNIX, socket.SOCK_STREAM) == ALLOW
    assert (decided("socketpair", socket.AF_UNIX, socket.SOCK_DGRAM) == ALLOW) == unix
    assert (decided("listen") == ALLOW) == unix


def test_a_connection_that_needs_no_connect_would_go_past_the_ports(machine: str) -> None:
    few, every = Filter(machine, Sockets(every_port=False)), Filter(machine, Sockets())
    assert [decide("sendto", 3, 0, 0, MSG_FASTOPEN) for decide in (few, every)] == [REFUSED, ALLOW]
    assert few("sendto", 3, 0, 0, 0) == ALLOW


def test_attributes_of_files_are_changed_where_the_user_is_its_own(machine: str) -> None:
    own, shared = Filter(machine, NONE, attributes=True), Filter(machine, NONE, attributes=False)
    assert [decide("fchmod") for decide in (own, shared)] == [ALLOW, REFUSED]
    assert [decide("fcntl", 3, 1024) for decide in (own, shared)] == [ALLOW, REFUSED]  # F_SETLEASE
    assert shared("fcntl", 3, 1) == ALLOW
    assert shared("ioctl", 3, 0x40086602) == REFUSED
