"""A Unix socket that the supervisor makes for a process and hands over, so that the process needs no folder for it.

It listens from the start, under an early name that clients do not know, and is renamed once the process is ready: a
client that connects to the final name reaches a process that answers. A socket that does not listen yet would have the
same effect, but its holder can connect it to another socket, and policies run before their process is ready.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path

DESCRIPTOR = 3
"""The process finds the socket at this descriptor, the first behind stderr, as with sd_listen_fds(3)."""


@dataclass(frozen=True)
class HandedSocket:
    """path: the socket's name once the process is ready."""

    path: Path

    @property
    def early_path(self) -> Path:
        """The socket's name until then."""
        return self.path.with_name(f".{self.path.name}")

    def make(self) -> socket.socket:
        """A new socket, mode 0600, at early_path. Its folder is private (RunDir). Raises OSError."""
        listener = socket.socket(socket.AF_UNIX)
        try:
            listener.bind(str(self.early_path))
            self.early_path.chmod(0o600)
            listener.listen()
        except BaseException:
            listener.close()
            raise
        return listener

    def open(self) -> None:
        """Renames the socket to `path`, where clients connect. Raises OSError."""
        self.early_path.rename(self.path)
