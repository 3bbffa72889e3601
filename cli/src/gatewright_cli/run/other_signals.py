"""Signals that ask a run for no stop, though the kernel would end it by them."""

from __future__ import annotations

import signal

REOPEN = signal.SIGUSR1
UNUSED = (signal.SIGUSR2, signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF, signal.SIGIO, signal.SIGPWR)
MEANINGS = "SIGTERM, SIGINT and SIGQUIT stop in order, SIGHUP reloads, SIGUSR1 reopens log files"


def survive_them() -> None:
    """Until the run has handlers of its own. Programs that are started have the kernel's defaults, not these."""
    for number in (REOPEN, *UNUSED):
        signal.signal(number, lambda *_: None)
