"""`gatewright backup`: copies the controller's database into one file, also while the controller runs.

Newest writes are in the write-ahead log beside the database, so that a copy of the database's file alone lacks them
(https://www.sqlite.org/howtocorrupt.html, 1.4).
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from gatewright_cli.mistakes import PreflightError


def back_up(database: Path, file: Path) -> int:
    """Copies the controller's database to a new `file`, 0600. Returns how many APIs are in it.

    Raises PreflightError if there is no database, or the file exists; then nothing is left behind.
    """
    if not database.is_file():
        cure = "name the state directory of a run with a controller with --state-dir"
        raise PreflightError([f"{database}: expected the controller's database, found none: {cure}"])
    try:
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))  # parameters of APIs hold secrets
    except OSError as error:
        raise PreflightError([f"{file}: {error.strerror}: choose another file"]) from error
    try:
        return _copy(database, file)
    except sqlite3.Error as error:
        file.unlink()
        raise PreflightError([f"{database} to {file}: {error}; the file is not kept"]) from error


def _copy(database: Path, file: Path) -> int:
    source = sqlite3.connect(f"{database.absolute().as_uri()}?mode=rw", uri=True)
    with closing(source), closing(sqlite3.connect(file)) as target:
        source.backup(target)
        target.execute("PRAGMA journal_mode = DELETE")  # one file, without a log beside it
        count: int = target.execute("SELECT count(*) FROM apis").fetchone()[0]
    return count
