"""Becomes another program that cannot outlive the process which started it.

Run by path, as `python -I -S launch.py PARENT_PID SCHEDULING PROGRAM ARGUMENT…`: asks the kernel for SIGKILL on the
parent's death (prctl(2), PR_SET_PDEATHSIG; it survives execve) and for the scheduling, "normal" or "batch" (sched(7),
and timers that may be a millisecond late; all threads inherit both), then executes PROGRAM in its own place, under the
same pid. A program of its own because Python code between fork and exec (`preexec_fn`) is unsafe in a process that has
threads.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
PR_SET_TIMERSLACK = 29
BATCH_SLACK_NS = 1_000_000  # 50,000 by default, at which Go's runtime looks every 70 µs whether a thread stands still
CANNOT_EXECUTE = 126


def main(parent: int, scheduling: str, command: list[str]) -> None:
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before we asked: no signal will come
        os.kill(os.getpid(), signal.SIGKILL)
    if scheduling == "batch":
        libc.prctl(PR_SET_TIMERSLACK, BATCH_SLACK_NS)
        _schedule_as_batch()
    try:
        os.execv(command[0], command)  # noqa: S606 - a shell is what nobody wants here
    except OSError as error:
        sys.stderr.write(f"cannot execute {command[0]}: {error.strerror}\n")
        sys.exit(CANNOT_EXECUTE)


def _schedule_as_batch() -> None:
    try:  # noqa: SIM105 - contextlib takes longer to import than all else here
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    except OSError:  # not allowed here (a seccomp profile, say): it is slower, and works
        pass


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
