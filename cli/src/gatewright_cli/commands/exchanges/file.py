"""A recorded exchange in a file of its own."""

from __future__ import annotations

import itertools
import os
import re
from pathlib import Path

from gatewright_cli.exchanges.recorded import Exchange, UnreadableError, read
from gatewright_cli.mistakes import PreflightError

SUFFIX = ".exchange.json"
NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9]+")
LONGEST_PATH = 40
ID_LENGTH = 8


def name_of(exchange: Exchange) -> str:
    """Its time, request and id: 20261126T171051.123456Z-GET-orders-7-5f1c2d3e."""
    when = re.sub(r"[^0-9TZ.]", "", exchange.started_at)
    words = NOT_IN_NAMES.sub("-", f"{exchange.request.method}-{exchange.request.path}").strip("-")[:LONGEST_PATH]
    request_id = NOT_IN_NAMES.sub("", exchange.id)[:ID_LENGTH]
    return "-".join(part for part in (when, words.strip("-"), request_id) if part) or "exchange"


def make_folder(folder: Path) -> None:
    """Makes the folder, if it does not exist, for its owner alone. Raises PreflightError."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise PreflightError([f"{folder}: expected a folder for exchanges: {error.strerror}"]) from error


def write(folder: Path, recorded: bytes) -> Path:
    """Writes a new file into the folder, 0600, since it may hold confidential data of clients. Returns its path.

    Raises PreflightError.
    """
    try:
        return _write_new(folder, name_of(read(recorded)), recorded)
    except UnreadableError as error:
        raise PreflightError([str(error)]) from error
    except OSError as error:
        raise PreflightError([f"{folder}: {error.strerror}: the exchanges recorded before are there"]) from error


def _write_new(folder: Path, name: str, recorded: bytes) -> Path:
    for number in itertools.count(1):
        path = folder / f"{name}{f'-{number}' if number > 1 else ''}{SUFFIX}"
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            continue
        with os.fdopen(descriptor, "wb") as file:
            file.write(recorded + b"\n")
        return path
    raise AssertionError("there is always a number more")


def read_file(path: Path) -> bytes:
    """Raises PreflightError."""
    try:
        return path.read_bytes().rstrip()
    except OSError as error:
        raise PreflightError([f"{path}: expected a file of `gatewright record`: {error.strerror}"]) from error
