"""What is obtained, on disk: certificates with their keys, what is known of them, accounts, answers to challenges.

All of it is the owner's alone (0600), and each file is replaced as a whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import tempfile
from pathlib import Path
from typing import Any

OBTAINED = Path("/var/lib/gatewright/acme")
"""The folder where no other is named."""
TOKEN = re.compile(r"[A-Za-z0-9_-]{1,200}")


def certificate_file(folder: Path, name: str) -> Path:
    """PEM: the certificate, those that lead to its authority, and the key. One file, so that they are always a pair."""
    return folder / "certificates" / f"{name}.pem"


def record_file(folder: Path, name: str) -> Path:
    """JSON: `schedule.Record`."""
    return folder / "certificates" / f"{name}.json"


def account_file(folder: Path, directory: str) -> Path:
    """JSON: the key of the account at a directory, and its URL."""
    return folder / "accounts" / f"{hashlib.sha256(directory.encode()).hexdigest()[:16]}.json"


def challenge_file(folder: Path, token: str) -> Path | None:
    """What is answered to a challenge; None where that is no token."""
    return folder / "challenges" / token if TOKEN.fullmatch(token) else None


def write_private(path: Path, content: bytes) -> None:
    """In place of the file that there is, as a whole and on disk; mode 0600, and 0700 for folders that are made."""
    for missing in reversed([folder for folder in (path.parent, *path.parent.parents) if not folder.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_json(path: Path, value: object) -> None:
    """`write_private`, of JSON."""
    write_private(path, json.dumps(value, indent=2).encode() + b"\n")


def read_json(path: Path) -> Any:
    """None where there is no such file, or it holds no JSON."""
    with contextlib.suppress(OSError, ValueError):
        return json.loads(path.read_bytes())
    return None
