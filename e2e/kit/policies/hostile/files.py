"""Files that are not its own: where["read"], where["write"] and so on are {label: path}; folders end with "/"."""

import ctypes
import os
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from .calls import LIBC
from .evidence import Evidence, RefusedError, evidence

EVERYTHING = 0xFFF  # IN_ALL_EVENTS


def of_each(key: str, attempt: Callable[[Path], object]) -> Callable[[dict[str, Any]], Evidence]:
    def run(where: dict[str, Any]) -> Evidence:
        return evidence({name: partial(attempt, Path(path)) for name, path in where[key].items()})

    return run


def read(path: Path) -> str:
    if path.is_dir() or not path.is_file():
        return ", ".join(sorted(entry.name for entry in path.iterdir()))[:200]
    return path.read_bytes()[:40].decode("utf-8", "backslashreplace")


def write(path: Path) -> str:
    """A file for appending, nothing is written; in a folder a new file, which is taken away again."""
    if path.is_dir():
        new = path / "hostile-was-here"
        new.write_bytes(b"hostile")
        new.unlink()
        return "a file was made"
    with path.open("ab"):
        return "open for writing"


def change(path: Path) -> str:
    """Mode and times are set to what they are."""
    changes, refusal = [], OSError()
    try:
        status = path.stat()
    except OSError as error:
        raise RefusedError(f"is not seen: {error}") from error
    acts: dict[str, Callable[[], object]] = {
        "mode": lambda: path.chmod(status.st_mode & 0o7777),
        "times": lambda: os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns)),
        "owner": lambda: os.chown(path, status.st_uid, status.st_gid),
        "attributes": lambda: os.setxattr(path, "user.hostile", b"1"),
    }
    for description, act in acts.items():
        try:
            act()
            changes.append(description)
        except OSError as error:
            refusal = error
    if not changes:
        raise refusal
    return ", ".join(changes)


def see(path: Path) -> str:
    """Reads the existence, the size and the times of a file."""
    return str(path.stat().st_size)


def watch(path: Path) -> str:
    """Watches for changes, which shows the names of files (inotify(7))."""
    instance = LIBC.inotify_init1(os.O_CLOEXEC)
    try:
        ctypes.set_errno(0)
        if LIBC.inotify_add_watch(instance, os.fsencode(path), EVERYTHING) < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    finally:
        os.close(instance)
    return "watched"


def become_another(where: dict[str, Any]) -> Evidence:
    """A program with the set-user-id bit of root."""

    def attempt() -> str:
        result = subprocess.run([where["setuid"], "-u"], capture_output=True, text=True, check=False)
        if result.stdout.strip() != "0":
            raise RefusedError(f"it ran as {result.stdout.strip() or result.stderr.strip()}")
        return "ran as root"

    return evidence({"": attempt})


TRIES = {
    "see-files": of_each("read", see),
    "watch-files": of_each("read", watch),
    "read-files": of_each("read", read),
    "read-code": of_each("code", read),
    "write-files": of_each("write", write),
    "change-files": of_each("change", change),
    "setuid": become_another,
}
