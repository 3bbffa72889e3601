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
DISK_FULL = "53100"
CURES = {
    "28": "check its user and password (PGPASSFILE, or passfile= in the URL, names a file of passwords)",
    "3D000": "create the database, or name one that is there",
    "42501": "let its user create tables in this database, or in a schema of its own",
    "25006": "name the server that can be written to: several hosts, with target_session_attrs=read-write, find it",
    "53100": "make room on its disk",
    "53300": "end other connections, or allow more",
    "hangs": "see why the server, or a proxy before it, does not answer: its load, its disks, its log",
    "57P01": "it is starting or stopping: no cure is needed",
    "57P03": "it is starting or stopping: no cure is needed",
}
"""By SQLSTATE, by a word of `REFUSALS`, or the class that it begins with
(https://www.postgresql.org/docs/current/errcodes-appendix.html)."""
REFUSALS = {
    "password authentication failed": "28",
    "no pg_hba.conf entry": "28",
    "no password supplied": "28",
    "too many": "53300",
    "the database system is": "57P03",
    "does not exist": "3D000",
    "expected an answer within": "hangs",
    "timeout expired": "hangs",
}
"""Of a server that refuses a connection, or does not answer: the message is there then, and no code."""
UNREACHABLE = "start the server, or correct the address in `database`"


class DamagedError(sqlite3.DatabaseError):
    """SQLite has opened the database, and finds it damaged: the message says where."""

    sqlite_errorcode = sqlite3.SQLITE_CORRUPT


def sqlite_obstacle(path: str, error: sqlite3.Error | OSError) -> str:
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


def reason_of(error: BaseException | None) -> str:
    """What the driver says, in one line."""
    return " ".join(str(error).split())


def postgresql_obstacle(place: str, error: BaseException | None) -> str:
    """The same of a server. error: the driver's."""
    reason = reason_of(error)
    state = sqlstate(error) or next((code for words, code in REFUSALS.items() if words in reason), "")
    cure = CURES.get(state) or CURES.get(state[:2]) or UNREACHABLE
    return f"{place}: {reason}; {cure}"


def is_full(error: BaseException | None) -> bool:
    """Whether the driver's error is for want of room."""
    if isinstance(error, sqlite3.Error):
        return getattr(error, "sqlite_errorcode", 0) & PRIMARY == sqlite3.SQLITE_FULL
    return sqlstate(error) == DISK_FULL


def sqlstate(error: BaseException | None) -> str:
    """PostgreSQL's code of an error; "" where the server gave none."""
    return getattr(error, "sqlstate", None) or ""


def error_of_writing(folder: Path) -> int:
    """The errno of writing a file as large as opening a database needs; 0: it can be written."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\1" * ROOM_BYTES)
            file.flush()
    except OSError as error:
        return error.errno or errno.EIO
    return 0
