"""Signals that do not stop a run, although their default action would end it."""

from __future__ import annotations

import signal

REOPEN = signal.SIGUSR1
UNUSED = (signal.SIGUSR2, signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF, signal.SIGIO, signal.SIGPWR)
MEANINGS = "SIGTERM, SIGINT and SIGQUIT stop in order, SIGHUP reloads, SIGUSR1 reopens log files"


def ignore_until_handled() -> None:
    """Ignores the signals until the run installs its handlers. Programs that it starts get the kernel's defaults."""
    for number in (REOPEN, *UNUSED):
        signal.signal(number, lambda *_: None)
