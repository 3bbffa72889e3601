"""Answers challenges: Envoy asks here, over a Unix socket, what is asked of it below /.well-known/acme-challenge/."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path

from gatewright_controller.local.acme_folder import challenge_file
from gatewright_controller.local.peers import PeerCheck, Rule, in_file
from gatewright_controller.local.private_http import http_socket
from gatewright_controller.local.private_socket import PrivateSocket

log = logging.getLogger(__name__)
PREFIX = "/.well-known/acme-challenge/"
ENVOY = "envoy"
MEDIA_TYPE = "application/octet-stream"


def challenge_socket(at: Path, folder: Path, peers: Path) -> PrivateSocket:
    """For Envoy, and processes that are not below the supervisor. peers: the supervisor's file. Start it, close it."""
    check = PeerCheck(Rule(in_file(peers), (ENVOY,)), at, _warn)
    return http_socket(
        at,
        check,
        lambda path: challenge(folder, path),
        MEDIA_TYPE,
        lambda error: log.error("a challenge cannot be answered", exc_info=error),
    )


def challenge(folder: Path, path: str) -> bytes | None:
    """The answer to what is asked at a path; None where nothing is expected there."""
    file = challenge_file(folder, path.removeprefix(PREFIX)) if path.startswith(PREFIX) else None
    if file is not None:
        with contextlib.suppress(OSError):
            return file.read_bytes() or None
    return None


def _warn(at: str, pid: int, why: str) -> None:
    log.warning("connection refused", extra={"socket": at, "pid": pid, "reason": why})
