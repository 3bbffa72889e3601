"""`gatewright backup` and `gatewright restore`: the controller's database as one file, also while the controller runs.

SQLite copies its file itself, and the controller a PostgreSQL, since it knows the tables. In SQLite the newest
writes are in the write-ahead log beside the database, so that a copy of the database's file alone lacks them
(https://www.sqlite.org/howtocorrupt.html, 1.4).
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from gatewright_cli.mistakes import PreflightError
from gatewright_cli.node.specs.processes import DATABASE_VARIABLES

SQLITE = "sqlite:"
WITH_HISTORY = 6
"""The version of databases from which on resources of all kinds are in one table."""
CONTROLLER = "GATEWRIGHT_CONTROLLER_"


def back_up(database: str, file: Path) -> int:
    """Copies the controller's database to a new `file`, 0600. Returns how many APIs are in it. database: its URL; "":
    the one that the environment names.

    Raises PreflightError if there is no database, or the file exists; then nothing is left behind.
    """
    database = database or os.environ.get(DATABASE_VARIABLES[0], "")
    if not database.startswith(SQLITE):
        return _run(database, "--back-up", str(file))
    return _back_up_file(Path(database.removeprefix(SQLITE)), file)


def restore(file: Path, database: str) -> int:
    """Fills an empty database with a backup, and returns how many APIs are in it. Raises PreflightError."""
    return _run(database, "--restore", str(file))


def _back_up_file(database: Path, file: Path) -> int:
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
        (version,) = target.execute("PRAGMA user_version").fetchone()
        table = "apis" if version < WITH_HISTORY else "resources WHERE kind = 'Api'"
        count: int = target.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608 - constants
    return count


def _run(database: str, *arguments: str) -> int:
    """Raises PreflightError with what the controller's program says."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(CONTROLLER)}
    named = {DATABASE_VARIABLES[0]: database}  # not an option, which others see: it may have a password in it
    if not database:
        named = {name: os.environ[name] for name in DATABASE_VARIABLES if name in os.environ}
    command = [sys.executable, "-m", "gatewright_controller", *arguments, "--log-level", "error"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env={**kept, **named})
    if result.returncode != 0:
        raise PreflightError([_message(line) for line in result.stderr.splitlines()] or ["the copy failed"])
    return int(result.stdout)


def _message(line: str) -> str:
    """Of a line of the controller's log."""
    try:
        message: str = json.loads(line)["message"]
    except (ValueError, KeyError, TypeError):
        return line
    return message
