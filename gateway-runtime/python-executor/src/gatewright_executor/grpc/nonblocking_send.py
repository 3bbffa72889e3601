"""Sends what a socket takes at once, and keeps Python's lock meanwhile.

`socket.send` lets the lock go, as it may have to wait. This one never waits, takes a few µs, and whoever sends does so
in the middle of other work: each time another thread would take the lock, and this one would wait for it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket

_FLAGS = socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL
_AGAIN = (errno.EAGAIN, errno.EINTR)
_send = ctypes.PyDLL(None, use_errno=True).send
_send.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int]
_send.restype = ctypes.c_ssize_t


def send(descriptor: int, data: bytes) -> int:
    """How many bytes the socket has taken, from the first on: 0 if it is full. OSError: the other side has left."""
    sent: int = _send(descriptor, data, len(data), _FLAGS)
    if sent >= 0:
        return sent
    if (number := ctypes.get_errno()) in _AGAIN:
        return 0
    raise OSError(number, os.strerror(number))
