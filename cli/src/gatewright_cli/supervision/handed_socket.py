"""A Unix socket that the supervisor makes for a process and hands over, so that the process needs no folder for it.

It listens from the start, under a name that nobody is told, and gets its own name once the process is ready: whoever
connects to that name meets a process that answers. A socket that did not listen yet would do the same, but whoever
holds one can connect it to somebody else's, and policies run before their process is ready.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path

DESCRIPTOR = 3
"""The process finds the socket at this descriptor, the first behind stderr, as with sd_listen_fds(3)."""


@dataclass(frozen=True)
class HandedSocket:
    """`path`: where the process is reached once it is ready."""

    path: Path

    @property
    def early_path(self) -> Path:
        """Where it is until then."""
        return self.path.with_name(f".{self.path.name}")

    def make(self) -> socket.socket:
        """A new one, mode 0600, at early_path. Its folder is private (RunDir). Raises OSError."""
        made = socket.socket(socket.AF_UNIX)
        try:
            made.bind(str(self.early_path))
            self.early_path.chmod(0o600)
            made.listen()
        except BaseException:
            made.close()
            raise
        return made

    def open(self) -> None:
        """Renames it to `path`, where clients connect. Raises OSError."""
        self.early_path.rename(self.path)
