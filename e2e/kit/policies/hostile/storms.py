"""As much as it can get of what all processes share, up to a bound."""

import mmap
import os
import tempfile
import threading
from functools import partial
from pathlib import Path
from typing import Any

from .evidence import Evidence, RefusedError, evidence

THREADS = 5000
STACK_BYTES = 64 << 10
PROCESSES = 200
FILE_BYTES = 8 << 30
FILES, EACH_BYTES = 64, 32 << 20
MEMORY_BYTES = 2 << 30
PAGE = 4096


def threads(_: dict[str, Any]) -> Evidence:
    def attempt() -> str:
        end, started = threading.Event(), []
        before = threading.stack_size(STACK_BYTES)
        try:
            for _ in range(THREADS):
                thread = threading.Thread(target=end.wait, daemon=True)
                thread.start()
                started.append(thread)
        except RuntimeError as error:
            raise RefusedError(f"{len(started)} threads, then: {error}") from error
        finally:
            end.set()
            threading.stack_size(before)
            for thread in started:
                thread.join()
        return f"{len(started)} threads"

    return evidence({"": attempt})


def processes(_: dict[str, Any]) -> Evidence:
    def attempt() -> str:
        reader, writer = os.pipe()
        started: list[int] = []
        try:
            for _ in range(PROCESSES):
                pid = os.fork()
                if pid == 0:
                    os.close(writer)
                    os.read(reader, 1)
                    os._exit(0)
                started.append(pid)
        except OSError as error:
            raise RefusedError(f"{len(started)} processes, then: {error}") from error
        finally:
            os.close(writer)
            os.close(reader)
            for pid in started:
                os.waitpid(pid, 0)
        return f"{len(started)} processes"

    return evidence({"": attempt})


def one_file(_: dict[str, Any]) -> Evidence:
    """A file whose last byte is there and whose others are a hole: as large for limits, and it costs no disk."""

    def attempt() -> str:
        with tempfile.NamedTemporaryFile() as file:
            os.pwrite(file.fileno(), b"x", FILE_BYTES - 1)
            return f"{os.fstat(file.fileno()).st_size} bytes"

    return evidence({"": attempt})


def many_files(_: dict[str, Any]) -> Evidence:
    """Room on the disk, allocated and not written."""

    def attempt() -> str:
        with tempfile.TemporaryDirectory() as folder:
            for number in range(FILES):
                with (Path(folder) / str(number)).open("wb") as file:
                    os.posix_fallocate(file.fileno(), 0, EACH_BYTES)
        return f"{FILES} files of {EACH_BYTES >> 20} MiB"

    return evidence({"": attempt})


def memory(_: dict[str, Any]) -> Evidence:
    """Writes to each page: a page that is only mapped takes no memory."""

    def attempt(flags: int) -> str:
        with mmap.mmap(-1, MEMORY_BYTES, flags | mmap.MAP_ANONYMOUS) as block:
            for offset in range(0, MEMORY_BYTES, PAGE):
                block[offset] = 1
            return f"{MEMORY_BYTES >> 20} MiB"

    return evidence({"its own": partial(attempt, mmap.MAP_PRIVATE), "shared": partial(attempt, mmap.MAP_SHARED)})


TRIES = {
    "threads": threads,
    "processes": processes,
    "one-file": one_file,
    "many-files": many_files,
    "memory-storm": memory,
}
