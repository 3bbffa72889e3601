from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from gatewright_cli.supervision.child import Child
from gatewright_cli.supervision.probes import Accepts
from gatewright_cli.supervision.specs import ProcessSpec

if TYPE_CHECKING:
    from cli.tests.conftest import Bench

WRITES = """
import faulthandler, re, signal, threading
faulthandler.register(signal.SIGUSR2, file=4, all_threads=False)
def waits(): threading.Event().wait()
def holds(): re.match(r"(a+)+$", "a" * 40 + "b")
threading.Thread(target=waits, daemon=True).start()
print("ready", flush=True)
holds()
"""


def test_a_thread_writes_its_stack_while_another_holds_the_interpreter(bench: Bench) -> None:
    lines: list[bytes] = []
    stacks: dict[int, str] = {}

    async def live() -> None:
        child = Child(ProcessSpec("child", (sys.executable, "-c", WRITES), Accepts(), writes_stacks=True), lines.extend)
        try:
            await bench.until(lambda: lines == [b"ready"])
            assert child.stack_page is not None
            await bench.until(lambda: child.cpu_seconds() > 0.1)
            for thread in [int(task.name) for task in Path(f"/proc/{child.pid}/task").iterdir()]:
                stacks[thread] = " ".join(await child.stack_page.stack_of(child.pid, thread))
            assert await child.stack_page.stack_of(child.pid, os.getpid()) == []  # no thread of it
        finally:
            child.kill()
            await child.exited
            assert child.stack_page is None

    bench.run(live())
    assert any(" in match " in stack and " in holds " in stack for stack in stacks.values()), stacks
    assert any(" in wait " in stack and " in waits " in stack and "holds" not in stack for stack in stacks.values())


def test_a_process_without_a_page_writes_none(bench: Bench) -> None:
    async def live() -> None:
        child = Child(ProcessSpec("child", (sys.executable, "-c", ""), Accepts()), lambda _: None)
        assert child.stack_page is None
        await child.exited

    bench.run(live())
