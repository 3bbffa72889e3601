from __future__ import annotations

import asyncio
import re
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from gatewright_cli.builds.build_output import Group
from gatewright_cli.builds.registry import Registry
from gatewright_cli.node.executors.interpreter_hold import InterpreterHold, find_hold, hold_in
from gatewright_cli.supervision.child import Child
from gatewright_cli.supervision.probes import Accepts
from gatewright_cli.supervision.specs import ProcessSpec

if TYPE_CHECKING:
    from cli.tests.conftest import Bench

SECONDS = 30.0
REGISTRY = Registry({"greet:v1.0.0": "policies.greet_v1_0_0.policy"}, {"greet_v1_0_0": "policies/greet"})
COPY = "/b/generations/run-1/1/python-executor/policies"
STACK = [
    '  File "/usr/lib/python3.11/re/__init__.py", line 166 in match',
    f'  File "{COPY}/greet_v1_0_0/deep/text.py", line 9 in check',
    f'  File "{COPY}/greet_v1_0_0/policy.py", line 4 in on_request',
    '  File "/b/gatewright_executor/running/execution.py", line 90 in run',
]


def test_the_innermost_line_of_the_policys_own_is_where_it_is() -> None:
    assert hold_in(STACK, REGISTRY) == InterpreterHold(
        "greet:v1.0.0",
        "policies/greet/deep/text.py:9",
        "Stack (most recent call last):\n"
        '  File "policies/greet/policy.py", line 4, in on_request\n'
        '  File "policies/greet/deep/text.py", line 9, in check\n'
        '  File "/usr/lib/python3.11/re/__init__.py", line 166, in match',
    )


@pytest.mark.parametrize("lines", [[], STACK[:1] + STACK[3:], [f'  File "{COPY}/unknown_v1/policy.py", line 4 in f']])
def test_a_stack_without_a_policys_code_is_no_hold(lines: list[str]) -> None:
    assert hold_in(lines, REGISTRY) is None


HOLDS = """
import re
def on_request(): print("in", flush=True), re.match(r"(a+)+$", "a" * 40 + "b")
"""
WAITS = """
import threading
def on_request(): print("in", flush=True), threading.Event().wait()
"""
KEEPS = """
import ctypes, tempfile
first = tempfile.NamedTemporaryFile()
files = first, open(first.name)
flock = ctypes.PyDLL(None).flock  # a function in C that keeps the interpreter while it waits
flock(files[0].fileno(), 2)
def on_request(): print("in", flush=True), flock(files[1].fileno(), 2)
"""
MAIN = """
import faulthandler, signal, sys, threading
sys.path.insert(0, sys.argv[1])
faulthandler.register(signal.SIGUSR2, file=4, all_threads=False)
from importlib import import_module
modules = [import_module(f"policies.{name}.policy") for name in sys.argv[2:]]
threads = [threading.Thread(target=module.on_request, daemon=True) for module in modules]
for thread in threads: thread.start()
threads[0].join()
"""


@pytest.mark.parametrize(
    ("policies", "found"),
    [
        ({"holds": HOLDS}, "src/holds/policy.py:3"),
        ({"waits": WAITS, "holds": HOLDS}, "src/holds/policy.py:3"),
        ({"keeps": KEEPS}, "src/keeps/policy.py:7"),
        ({"waits": WAITS, "keeps": KEEPS}, None),  # either may be it
        ({"waits": WAITS}, "src/waits/policy.py:3"),  # in a process that does not answer
    ],
)
def test_the_hold_in_a_real_process_is_found(bench: Bench, policies: dict[str, str], found: str | None) -> None:
    folder, lines = bench.folder / "python-executor", list[bytes]()
    for name, source in policies.items():
        policy = folder / "policies" / name
        policy.mkdir(parents=True)
        (policy / "policy.py").write_text(source)
    registry = folder / "registry.py"
    modules = {f"{name}:v1.0.0": f"policies.{name}.policy" for name in policies}
    sources = {name: f"src/{name}" for name in policies}
    registry.write_text(f"PYTHON_POLICIES = {modules}\nPOLICY_SOURCES = {sources}\n")
    command = sys.executable, "-c", textwrap.dedent(MAIN), str(folder), *policies
    holds: list[InterpreterHold | None] = []

    async def live() -> None:
        child = Child(ProcessSpec("child", command, Accepts(), writes_stacks=True), lines.extend)
        try:
            await bench.until(lambda: len(lines) == len(policies))
            begun = child.cpu_seconds()
            await bench.until(lambda: "holds" not in policies or child.cpu_seconds() > begun + 0.2)
            page = child.stack_page
            assert page is not None
            group = Group("default", Path(sys.executable), registry)
            async with asyncio.timeout(SECONDS):
                while not holds or (found and not holds[-1]):  # one look finds none where the child gets no core
                    holds.append(await find_hold(child.pid, page, group))
        finally:
            child.kill()
            await child.exited

    bench.run(live())
    hold = holds[-1]
    assert (hold.at if hold else None) == found, (holds, lines)
    assert found is None or re.match(r"\w+:v1\.0\.0$", hold.policy if hold else "")
