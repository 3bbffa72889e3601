"""Finds the policy that holds the interpreter of an executor, so that nothing else runs there.

One thread of the process holds the interpreter (the GIL) and computes; the others wait for it. So this module reads the
stacks of the threads that compute, without the interpreter's help (stack_page.py). If none computes, it reads all
stacks, since a thread may wait in C and hold the interpreter. It names a policy only if all stacks with a policy's code
are of that one.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gatewright_cli.builds.build_output import Group
from gatewright_cli.builds.registry import Registry, folder_of, read_registry
from gatewright_cli.supervision.stack_page import StackPage

LOOK_SECONDS = 0.1
COMPUTES = 0.5  # the share of LOOK_SECONDS for which a computing thread runs, or waits for a core
MOST_THREADS = 64
MOST_SECONDS = 1.0  # for all threads that do not compute
FRAME = re.compile(r'^  File "(?P<file>.+)", line (?P<line>\d+) in (?P<function>.+)$')
COPY = re.compile(r"^.*/policies/(\w+)/")


@dataclass(frozen=True)
class InterpreterHold:
    """policy: name:version. at: FILE:LINE, the policy's innermost line. stack: from that line on, as a traceback."""

    policy: str
    at: str
    stack: str


async def find_hold(pid: int, page: StackPage, group: Group) -> InterpreterHold | None:
    """The hold in a process that does not answer; None if none is found."""
    try:
        registry = read_registry(group.registry)
    except (OSError, ValueError, SyntaxError):
        return None
    computing = await _computing(pid)
    threads = computing or sorted(_used_seconds(pid))[:MOST_THREADS]
    end = time.monotonic() + MOST_SECONDS
    holds = []
    for thread in threads:
        lines = await page.stack_of(pid, thread) if computing else await page.stack_of(pid, thread, LOOK_SECONDS)
        if (hold := hold_in(lines, registry)) is not None:
            holds.append(hold)
        if not computing and (time.monotonic() > end or (thread == pid and not lines)):  # the process has stopped
            return None
    return holds[0] if len({hold.policy for hold in holds}) == 1 else None


def hold_in(lines: Sequence[str], registry: Registry) -> InterpreterHold | None:
    """The policy's code in a stack, whose innermost frame is first; None for none."""
    frames = [match for line in lines if (match := FRAME.match(line))]
    policies = {folder_of(module): key for key, module in registry.modules.items()}
    folders = [_folder(frame["file"], policies) for frame in frames]
    if not any(folders):
        return None
    inner = next(number for number, folder in enumerate(folders) if folder)
    outer = max(number for number, folder in enumerate(folders) if folder)
    shown = [_source_path(frame["file"], registry.sources) for frame in frames]
    text = "Stack (most recent call last):" + "".join(
        f'\n  File "{shown[number]}", line {frames[number]["line"]}, in {frames[number]["function"]}'
        for number in range(outer, -1, -1)
    )
    return InterpreterHold(policies[folders[inner]], f"{shown[inner]}:{frames[inner]['line']}", text)


def _folder(file: str, policies: Mapping[str, str]) -> str:
    """The folder of the policy that the file belongs to; "" for none."""
    match = COPY.match(file)
    return match[1] if match is not None and match[1] in policies else ""


def _source_path(file: str, sources: Mapping[str, str]) -> str:
    """The file as the policy's author names it."""
    match = COPY.match(file)
    return f"{sources[match[1]]}/{file[match.end() :]}" if match is not None and match[1] in sources else file


async def _computing(pid: int) -> list[int]:
    """The threads of a process that compute all the time, or would with a core."""
    before, began = _used_seconds(pid), time.monotonic()
    await asyncio.sleep(LOOK_SECONDS)
    passed, now = time.monotonic() - began, _used_seconds(pid)
    return [thread for thread in now if now[thread] - before.get(thread, now[thread]) >= COMPUTES * passed]


def _used_seconds(pid: int) -> dict[int, float]:
    """Seconds by thread for which it has computed or waited for a core (proc(5), schedstat); 0 if unknown."""
    seconds = {}
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            seconds[int(task.name)] = _schedstat(task)
    except OSError:  # it has ended
        return {}
    return seconds


def _schedstat(task: Path) -> float:
    try:
        computed, waited, *_ = (task / "schedstat").read_text().split()
        return (int(computed) + int(waited)) / 1e9
    except (OSError, ValueError):
        return 0.0
