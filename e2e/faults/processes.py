"""What the processes of a gateway hold: memory, threads, open files (proc(5))."""

from __future__ import annotations

import os
from pathlib import Path

from e2e.gateway import Gateway


def resident(gateway: Gateway) -> dict[str, int]:
    """Bytes of memory by process name; of those that run now."""
    found = {name: int((folder / "statm").read_text().split()[1]) for name, folder in folders(gateway).items()}
    return {name: pages * os.sysconf("SC_PAGE_SIZE") for name, pages in found.items()}


def threads(gateway: Gateway) -> dict[str, int]:
    return {name: len([*(folder / "task").iterdir()]) for name, folder in folders(gateway).items()}


def files(gateway: Gateway) -> dict[str, int]:
    return {name: len([*(folder / "fd").iterdir()]) for name, folder in folders(gateway).items()}


def folders(gateway: Gateway) -> dict[str, Path]:
    return {each["name"]: Path(f"/proc/{each['pid']}") for each in gateway.status()["processes"] if each["pid"]}
