"""A process with a bound: what allocates without end fails, and the machine's memory is safe."""

import subprocess
import sys

HOGS = """
import sys
from gatewright_executor import memory
memory.limit(100 * 1024 * 1024)
held = []
try:
    while len(held) < 1000:
        held.append(bytearray(4 * 1024 * 1024))
except MemoryError:
    count = len(held)
    held.clear()
    print(count * 4)
"""


def test_over_the_limit_allocations_fail() -> None:
    done = subprocess.run([sys.executable, "-c", HOGS], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    mebibytes = int(done.stdout)
    assert 40 < mebibytes < 100 + 24 * 8 + 10
