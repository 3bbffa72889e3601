"""Decides what SIGHUP means: a reload, as for daemons, or a stop, because the terminal of a foreground run is gone."""

from __future__ import annotations

import os
import signal
from enum import Enum, auto

TERMINAL = "/dev/tty"  # the process's own; opening it fails without a terminal


class HangupAction(Enum):
    """What SIGHUP asks for."""

    RELOAD = auto()
    STOP = auto()
    IGNORE = auto()


class HangupSignals:
    """Make it when the run begins: it remembers whether the run is in the foreground of a terminal.

    Only such a run ends when its terminal closes. For a run in the background, a daemon or a container, SIGHUP means a
    reload. So it does under nohup(1), which is recognized by SIGHUP being ignored at the start.
    """

    def __init__(self) -> None:
        self._outlives = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        self._had_terminal = _foreground_group() == os.getpgrp()

    def received(self) -> HangupAction:
        """What the SIGHUP that has just arrived asks for."""
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
