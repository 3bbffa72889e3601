"""Why a database cannot be opened, in words, with the cure. SQLite says "disk I/O error" of a disk that is full."""

from __future__ import annotations

import errno
import sqlite3
import tempfile
from pathlib import Path

from gatewright_documents.os_errors import os_reason

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
DAMAGED = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)
PRIMARY = 0xFF
"""The part of a code of SQLite's that says what kind of error it is."""
ROOM_BYTES = 256 * 1024
"""More than opening a database writes: the file of its shared memory and a few pages."""


class DamagedError(sqlite3.DatabaseError):
    """SQLite has opened the database, and finds it damaged: the message says where."""

    sqlite_errorcode = sqlite3.SQLITE_CORRUPT


def obstacle(path: str, error: sqlite3.Error | OSError) -> str:
    """What keeps the database at `path` from being opened, and what to do about it."""
    reason = os_reason(error) if isinstance(error, OSError) else str(error)
    code = getattr(error, "sqlite_errorcode", 0) & PRIMARY
    if code in DAMAGED:
        cure = "put a backup in its place, or move it away to begin with none, and what files publish"
        return f"{path} is damaged: {reason}; {cure}"
    if code == sqlite3.SQLITE_BUSY:
        return f"{path}: {reason}; end the process that uses it"
    if code == sqlite3.SQLITE_FULL or error_of_writing(Path(path).parent) in FULL:
        return f"the disk is full ({path}: {reason}); make room there"
    return f"{path}: {reason}; let the controller's user read and write this file and its folder"


def error_of_writing(folder: Path) -> int:
    """The errno of writing a file as large as opening a database needs; 0: it can be written."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\1" * ROOM_BYTES)
            file.flush()
    except OSError as error:
        return error.errno or errno.EIO
    return 0
