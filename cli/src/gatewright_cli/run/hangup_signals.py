"""What SIGHUP asks for: a reload, as daemons do, or a stop, because the terminal of a foreground run has gone."""

from __future__ import annotations

import os
import signal
from enum import Enum, auto

TERMINAL = "/dev/tty"  # the process's own; it cannot be opened where there is none, or none any more


class HangupAction(Enum):
    """What somebody, or the kernel, has sent SIGHUP for."""

    RELOAD = auto()
    STOP = auto()
    IGNORE = auto()


class HangupSignals:
    """Make it when the run begins: it remembers whether the run has a terminal to lose.

    Only a run in the foreground of a terminal ends with it. One in the background, a daemon, a container has nothing
    to lose, and SIGHUP reloads; nor has one under nohup(1), which is told by SIGHUP being ignored at its start.
    """

    def __init__(self) -> None:
        self._outlives = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        self._had_terminal = _foreground_group() == os.getpgrp()

    def received(self) -> HangupAction:
        """SIGHUP has come."""
        if not self._had_terminal or _foreground_group() is not None:
            return HangupAction.RELOAD
        self._had_terminal = False
        return HangupAction.IGNORE if self._outlives else HangupAction.STOP


def _foreground_group() -> int | None:
    """The process group in the foreground of this process's terminal; None without one."""
    try:
        terminal = os.open(TERMINAL, os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return None
    try:
        return os.tcgetpgrp(terminal)
    except OSError:
        return None
    finally:
        os.close(terminal)
