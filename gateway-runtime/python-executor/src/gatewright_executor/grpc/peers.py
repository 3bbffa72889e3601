"""The processes that may connect: the engine, and the supervisor, which checks that this process listens. Policies of
another executor, which run as the same user, may not. The engine's internal/peers does the same for its sockets.
"""

from __future__ import annotations

import json
import socket
import struct
from pathlib import Path

ROLES = ("engine", "supervisor")
UCRED = struct.Struct("3i")  # pid, uid, gid


def refusal(client: socket.socket, file: Path) -> str | None:
    """Why the connected process may not connect; None if it may. file: {"engine": 7}, written by the supervisor.

    The file is read once: an engine that is newer than the file tries again. A second engine, which takes the place of
    the first, has a number: {"engine": 7, "engine.2": 9}.
    """
    pid, _, _ = UCRED.unpack(client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, UCRED.size))
    try:
        known = json.loads(file.read_bytes())
        if pid in {known[name] for name in known if name.partition(".")[0] in ROLES}:
            return None
    except (OSError, ValueError) as error:
        return f"pid {pid}: {error}"
    return f"pid {pid}: expected the {' or the '.join(ROLES)}"
