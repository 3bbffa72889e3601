"""The meaning of SIGHUP, with real terminals: a process in a pseudo-terminal that closes."""

from __future__ import annotations

import os
import pty
import signal
import sys
from collections.abc import Callable

import pytest

PROGRAM = """
import os, signal, sys
from gatewright_cli.run.hangup_signals import HangupSignals
signal.signal(signal.SIGHUP, signal.SIG_IGN if "ignored" in sys.argv else signal.SIG_DFL)  # whatever runs the tests
if "background" in sys.argv:
    os.setpgid(0, 0)
hangups = HangupSignals()
report = int(sys.argv[1])
signal.signal(signal.SIGHUP, lambda *_: os.write(report, hangups.received().name.encode() + b"\\n"))
os.write(report, b"up\\n")
while True:
    signal.pause()
"""


class Heard:
    """What a program of its own makes of SIGHUP. `terminal`: its terminal's other end, if it has one."""

    def __init__(self, in_terminal: bool, *arguments: str) -> None:
        reading, writing = os.pipe()
        os.set_inheritable(writing, True)
        command = [sys.executable, "-c", PROGRAM, str(writing), *arguments]
        self.terminal: int | None = None
        if in_terminal:
            self.pid, self.terminal = pty.fork()
            if self.pid == 0:
                os.execv(command[0], command)  # noqa: S606
        else:
            self.pid = os.posix_spawn(command[0], command, os.environ, setsid=True)
        os.close(writing)
        self._report = os.fdopen(reading)
        assert self._report.readline() == "up\n"

    def hang_up(self) -> str:
        assert self.terminal is not None
        os.close(self.terminal)
        return self._report.readline().strip()

    def kill(self) -> str:
        os.kill(self.pid, signal.SIGHUP)
        return self._report.readline().strip()

    def end(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        self._report.close()


@pytest.fixture
def program(request: pytest.FixtureRequest) -> Callable[..., Heard]:
    def start(in_terminal: bool, *arguments: str) -> Heard:
        received = Heard(in_terminal, *arguments)
        request.addfinalizer(received.end)
        return received

    return start


def test_without_a_terminal_it_asks_for_a_reload(program: Callable[..., Heard]) -> None:
    daemon = program(False)
    assert [daemon.kill(), daemon.kill()] == ["RELOAD", "RELOAD"]


def test_a_sent_signal_reloads_in_a_terminal_too(program: Callable[..., Heard]) -> None:
    assert program(True).kill() == "RELOAD"


def test_a_closing_terminal_ends_the_run_in_its_foreground(program: Callable[..., Heard]) -> None:
    assert program(True).hang_up() == "STOP"


def test_under_nohup_a_terminal_may_close(program: Callable[..., Heard]) -> None:
    received = program(True, "ignored")
    assert received.hang_up() == "IGNORE"
    assert received.kill() == "RELOAD"
