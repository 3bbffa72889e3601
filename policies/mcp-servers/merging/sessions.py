"""A session of the client's: the sessions of all servers in one id, so that no process and no node has to remember it.

The id is no secret of the gateway's: it holds the servers' own ids, which are as hard to guess as the servers make
them.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from sdk import mcp

MAX_BYTES = 16 << 10
_VISIBLE = re.compile(r"[!-~]{0,1024}")
_ENCODED = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Session:
    """What a server has agreed on."""

    revision: str
    id: str
    """"": the server gives none."""


Sessions = Mapping[str, Session]
"""By the names of servers. One that was away as the session began is not there."""


def to_id(sessions: Sessions) -> str:
    pairs = {name: [session.revision, session.id] for name, session in sessions.items()}
    return base64.urlsafe_b64encode(json.dumps(pairs, separators=(",", ":")).encode()).decode().rstrip("=")


def read_id(text: str) -> Sessions | None:
    """The sessions in an id; None: it is none that `to_id` has made."""
    if len(text) > MAX_BYTES or not _ENCODED.fullmatch(text):
        return None
    try:
        pairs = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        found = {name: Session(revision, number) for name, (revision, number) in pairs.items()}
    except (binascii.Error, ValueError, TypeError, AttributeError, RecursionError):
        return None
    is_valid = all(_is_valid(session) for session in found.values())
    return found if found and is_valid and to_id(found) == text else None


def _is_valid(session: Session) -> bool:
    return (
        isinstance(session.id, str)
        and session.revision in mcp.SESSION_REVISIONS
        and _VISIBLE.fullmatch(session.id) is not None
    )
