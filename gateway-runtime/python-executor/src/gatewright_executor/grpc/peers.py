"""Who may connect: the engine, and the supervisor, which looks whether this process listens. Policies of another
executor, of the same user, may not. The engine's internal/peers does the same for its sockets.
"""

from __future__ import annotations

import json
import socket
import struct
from pathlib import Path

ROLES = ("engine", "supervisor")
UCRED = struct.Struct("3i")  # pid, uid, gid


def refusal(client: socket.socket, file: Path) -> str | None:
    """Why the process that has connected may not; None where it may. file: {"engine": 7}, as the supervisor keeps it.

    It is not asked again: an engine that is newer than the file comes back.
    """
    pid, _, _ = UCRED.unpack(client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, UCRED.size))
    try:
        known = json.loads(file.read_bytes())
        if pid in {known.get(role) for role in ROLES}:
            return None
    except (OSError, ValueError) as error:
        return f"pid {pid}: {error}"
    return f"pid {pid}: expected the {' or the '.join(ROLES)}"
