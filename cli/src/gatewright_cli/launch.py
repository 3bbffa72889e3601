"""Becomes another program that cannot outlive the process which started it.

Run by path, as `python -I -S launch.py PARENT_PID PROGRAM ARGUMENT…`: asks the kernel for SIGKILL on the parent's
death (prctl(2), PR_SET_PDEATHSIG; it survives execve), then executes PROGRAM in its own place, under the same pid. A
program of its own because Python code between fork and exec (`preexec_fn`) is unsafe in a process that has threads.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
CANNOT_EXECUTE = 126


def main(parent: int, command: list[str]) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before we asked: no signal will come
        os.kill(os.getpid(), signal.SIGKILL)
    try:
        os.execv(command[0], command)  # noqa: S606 - a shell is what nobody wants here
    except OSError as error:
        sys.stderr.write(f"cannot execute {command[0]}: {error.strerror}\n")
        sys.exit(CANNOT_EXECUTE)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
