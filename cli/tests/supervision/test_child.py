from __future__ import annotations

import asyncio
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from gatewright_cli.supervision.child import Child, NotStartedError, describe_exit
from gatewright_cli.supervision.handed_socket import HandedSocket
from gatewright_cli.supervision.probes import Accepts
from gatewright_cli.supervision.specs import ProcessSpec, Scheduling

if TYPE_CHECKING:
    from cli.tests.conftest import Bench


def python(program: str) -> ProcessSpec:
    return ProcessSpec("child", (sys.executable, "-c", program), Accepts())


def lines_of(bench: Bench, program: str) -> tuple[int, list[bytes]]:
    lines: list[bytes] = []
    statuses = []

    async def live() -> None:
        child = Child(python(program), lines.extend)
        statuses.append(await child.exited)

    bench.run(live())
    return statuses[0], lines


def test_stdout_and_stderr_are_read_to_the_last_byte(bench: Bench) -> None:
    status, lines = lines_of(bench, "import os; os.write(1, b'out\\n'); os.write(2, b'err\\xff\\nlast'); os._exit(3)")
    assert (status, lines) == (3, [b"out", b"err\xff", b"last"])


def test_unshown_lines_are_read_and_not_passed_on(bench: Bench) -> None:
    spec = replace(python("print('one\\nnot this one\\nnot that\\ntwo')"), unshown=(b"this", b"that"))
    lines: list[bytes] = []

    async def live() -> None:
        child = Child(spec, lines.extend)
        await child.exited
        assert child.lines_read == 4
        assert list(child.last_lines) == [b"one", b"two"]

    bench.run(live())
    assert lines == [b"one", b"two"]


def test_a_huge_line_costs_no_memory_and_does_not_block(bench: Bench) -> None:
    program = "import os\nfor _ in range(400): os.write(1, b'x' * 65536)\nos.write(1, b'\\nafter\\n')"
    status, lines = lines_of(bench, program)
    assert status == 0
    assert [len(line) < 70_000 for line in lines] == [True, True]
    assert lines[1] == b"after"


def test_many_lines_arrive_in_order(bench: Bench) -> None:
    _, lines = lines_of(bench, "print('\\n'.join(map(str, range(100_000))))")
    assert lines == [str(number).encode() for number in range(100_000)]


def test_a_program_that_is_not_there(bench: Bench) -> None:
    async def live() -> None:
        with pytest.raises(NotStartedError, match="no-such-program is not there"):
            Child(ProcessSpec("child", ("no-such-program",), Accepts()), lambda _: None)

    bench.run(live())


def test_a_program_that_the_system_cannot_execute(bench: Bench) -> None:
    broken = bench.folder / "broken"
    broken.write_bytes(b"\x7fELF nonsense")
    broken.chmod(0o700)
    lines: list[bytes] = []

    async def live() -> None:
        child = Child(ProcessSpec("child", (str(broken),), Accepts()), lines.extend)
        assert await child.exited == 126

    bench.run(live())
    assert lines == [f"cannot execute {broken}: Exec format error".encode()]


@pytest.mark.parametrize(
    ("scheduling", "expected"), [("batch", (os.SCHED_BATCH, 1_000_000)), ("normal", (os.SCHED_OTHER, 50_000))]
)
def test_a_child_is_scheduled_as_its_spec_says(bench: Bench, scheduling: Scheduling, expected: tuple[int, int]) -> None:
    """And how late its timers may be, in ns (prctl(2), PR_GET_TIMERSLACK)."""
    lines: list[bytes] = []
    program = "import ctypes, os; print((os.sched_getscheduler(0), ctypes.CDLL(None).prctl(30)))"

    async def live() -> None:
        spec = replace(python(program), scheduling=scheduling)
        assert await Child(spec, lines.extend).exited == 0

    bench.run(live())
    assert lines == [str(expected).encode()]


def test_sigterm_first_then_sigkill_to_the_whole_group(bench: Bench) -> None:
    lines: list[bytes] = []
    program = (
        "import os, signal, subprocess, sys\n"
        "signal.signal(signal.SIGTERM, lambda *_: os.write(1, b'deaf\\n'))\n"  # print may be interrupted by itself
        "own = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print(own.pid, flush=True)\n"
        "while True: signal.pause()\n"
    )

    async def live() -> None:
        child = Child(python(program), lines.extend)
        await bench.until(lambda: lines)
        stopping = asyncio.create_task(child.stop(seconds=20.0))
        await bench.until(lambda: b"deaf" in lines)
        bench.pass_time(20.0)
        await stopping
        assert child.exited.result() == -signal.SIGKILL
        await bench.until(lambda: not bench.alive(int(lines[0])))

    bench.run(live())
    assert lines[1:] == [b"deaf", b"did not end within 20 s of SIGTERM: killed"]


def test_files_and_sockets_of_a_child_are_private(bench: Bench) -> None:
    made = bench.folder / "made"

    async def live() -> None:
        assert await Child(python(f"open({str(made)!r}, 'w')"), lambda _: None).exited == 0

    bench.run(live())
    assert made.stat().st_mode & 0o777 == 0o600


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_no_descriptor_is_left(bench: Bench) -> None:
    async def live() -> None:
        await Child(python(""), lambda _: None).exited
        before = open_descriptors()
        for _ in range(3):
            await Child(python("print(1)"), lambda _: None).exited
        assert open_descriptors() == before

    bench.run(live())


def test_a_child_has_its_three_descriptors_and_no_other(bench: Bench) -> None:
    """Not even one that this process inherited."""
    read_end, write_end = os.pipe()
    os.set_inheritable(write_end, True)
    try:
        _, lines = lines_of(
            bench, "import os; print(*sorted(os.listdir('/proc/self/fd'), key=int), os.readlink('/proc/self/fd/0'))"
        )
    finally:
        os.close(read_end)
        os.close(write_end)
    *descriptors, stdin = lines[0].decode().split()
    assert (descriptors[:3], len(descriptors)) == (["0", "1", "2"], 4)  # the last is that of the list itself
    assert stdin == os.devnull


def test_no_child_outlives_a_killed_supervisor(bench: Bench) -> None:
    supervisor = (
        "import asyncio, sys\n"
        "from gatewright_cli.supervision.child import Child\n"
        "from gatewright_cli.supervision.probes import Accepts\n"
        "from gatewright_cli.supervision.specs import ProcessSpec\n"
        "async def live():\n"
        "    program = 'import time; print(1, flush=True); time.sleep(600)'\n"
        "    sleeper = ProcessSpec('c', (sys.executable, '-c', program), Accepts())\n"
        "    child = Child(sleeper, lambda _: print(child.pid, flush=True))\n"
        "    await child.exited\n"
        "asyncio.run(live())\n"
    )

    async def live() -> None:
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", supervisor, stdout=asyncio.subprocess.PIPE)
        assert process.stdout is not None
        pid = int(await process.stdout.readline())
        assert bench.alive(pid)
        process.kill()
        await process.wait()
        await bench.until(lambda: not bench.alive(pid))

    bench.run(live())


@pytest.mark.parametrize(
    ("status", "words"),
    [(0, "exited with code 0"), (2, "exited with code 2"), (-11, "killed by SIGSEGV"), (-40, "killed by signal 40")],
)
def test_exits_in_words(status: int, words: str) -> None:
    assert describe_exit(status) == words


def test_cpu_time_is_that_of_the_process(bench: Bench) -> None:
    async def live() -> None:
        child = Child(python("while True: pass"), lambda _: None)
        await bench.until(lambda: child.cpu_seconds() > 0.05)
        child.kill()
        await child.exited
        assert child.cpu_seconds() == 0.0
        assert not Path(f"/proc/{child.pid}").exists()

    bench.run(live())


def test_a_socket_that_is_handed_over_is_there_once(bench: Bench) -> None:
    """A program that a policy starts would inherit another descriptor."""
    program = "import os, stat\nfor n in range(3, 256):\n  try: print(n, stat.S_ISSOCK(os.fstat(n).st_mode))\n"
    program += "  except OSError: pass"
    lines: list[bytes] = []

    async def live() -> None:
        child = Child(replace(python(program), handed=HandedSocket(bench.folder / "one.sock")), lines.extend)
        await child.exited

    bench.run(live())
    assert lines == [b"3 True"]


def test_signals_for_the_supervisor_that_go_to_all_its_processes_end_none(bench: Bench) -> None:
    """As `systemctl kill --signal=USR1` does, and `kill` with a process group."""
    program = """if True:
        import os, signal
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            os.kill(os.getpid(), number)
        print("goes on")
    """
    assert lines_of(bench, program) == (0, [b"goes on"])
