"""A socket takes what it can, at once."""

import socket

import pytest
from gatewright_executor.grpc import nonblocking_send


def test_what_a_socket_takes_arrives() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        assert nonblocking_send.send(ours.fileno(), b"a\0b") == 3
        assert theirs.recv(16) == b"a\0b"


def test_a_full_socket_takes_a_part_and_then_nothing() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        taken = 0
        while sent := nonblocking_send.send(ours.fileno(), b"x" * (1 << 20)):
            taken += sent
        assert taken > 0
        while taken:
            taken -= len(theirs.recv(1 << 20))
        assert nonblocking_send.send(ours.fileno(), b"x") == 1


def test_who_has_left_is_noticed() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    theirs.close()
    with ours, pytest.raises(BrokenPipeError):
        nonblocking_send.send(ours.fileno(), b"x")
    with pytest.raises(OSError, match="Bad file descriptor"):
        nonblocking_send.send(ours.fileno(), b"x")
