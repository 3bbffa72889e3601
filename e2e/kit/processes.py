"""The resources of a gateway's processes: memory, threads, open files (proc(5))."""

from __future__ import annotations

import os
from pathlib import Path

from e2e.kit.gateway import Gateway


def resident_memory(gateway: Gateway) -> dict[str, int]:
    """Bytes of resident memory of each running process, by name."""
    page_counts = {name: int((folder / "statm").read_text().split()[1]) for name, folder in folders(gateway).items()}
    return {name: pages * os.sysconf("SC_PAGE_SIZE") for name, pages in page_counts.items()}


def resident_memory_of(pid: int) -> int:
    """Bytes of resident memory of a running process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def resources_of(folder: Path) -> dict[str, int]:
    """ "memory" in bytes, "threads" and "files" of a process. Empty if it has ended meanwhile."""
    try:
        pages = int((folder / "statm").read_text().split()[1])
        tasks, files = [*(folder / "task").iterdir()], [*(folder / "fd").iterdir()]
    except OSError:
        return {}
    return {"memory": pages * os.sysconf("SC_PAGE_SIZE"), "threads": len(tasks), "files": len(files)}


def folders(gateway: Gateway) -> dict[str, Path]:
    return {
        process["name"]: Path(f"/proc/{process['pid']}") for process in gateway.status()["processes"] if process["pid"]
    }
