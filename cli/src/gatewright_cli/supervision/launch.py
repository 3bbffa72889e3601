"""Becomes another program that cannot outlive the process which started it.

Run by path, as `python -I -S launch.py COUNT PIECE… PROGRAM ARGUMENT…`, with a plan in COUNT pieces: applies the plan,
then executes PROGRAM under the same pid. It is a program of its own because Python code between fork and exec
(`preexec_fn`) is unsafe in a process that has threads. The plan is a literal of Python (see launch_plan.py):

    parent        the pid of the process that started it, on whose death the kernel sends SIGKILL (prctl(2),
                  PR_SET_PDEATHSIG, which survives execve)
    scheduling    "batch": sched(7), and timers that may be a millisecond late; all threads inherit both. Else "normal"
    descriptors   [from, to] of each that is handed over: the program gets this process's `from` as `to`
    sandbox       the restrictions of the program (sandbox.py); None for none
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
PR_SET_TIMERSLACK = 29
BATCH_SLACK_NS = 1_000_000  # 50,000 by default, with which Go's sysmon thread wakes up every 70 µs
CANNOT_EXECUTE = 126
FOR_THE_SUPERVISOR = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""Signals for the supervisor. Service managers send a signal to all processes of a service (systemctl kill), and these
end a program by default."""


def main(plan_text: str, command: list[str]) -> None:
    """Does not return, unless the program cannot be executed."""
    # The plan is from the parent, and so safe; importing json or ast takes longer than all else here.
    plan = eval(plan_text, {"__builtins__": {}})  # noqa: S307
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        for source, target in plan["descriptors"]:
            os.dup2(source, target)
            if source != target:
                os.close(source)
        if plan["sandbox"]:
            package = os.path.dirname(os.path.dirname(__file__))  # noqa: PTH120 - pathlib takes long to import
            sys.path.append(os.path.dirname(package))  # noqa: PTH120
            from gatewright_cli.supervision import sandbox

            sandbox.apply(plan["sandbox"], libc)
        for number in FOR_THE_SUPERVISOR:
            signal.signal(number, signal.SIG_IGN)  # execve(2) keeps that; Envoy has handlers of its own
        _end_with(plan["parent"], libc)  # last, since the kernel resets it when the user changes
        if plan["scheduling"] == "batch":
            libc.prctl(PR_SET_TIMERSLACK, BATCH_SLACK_NS)
            _schedule_as_batch()
        os.execv(command[0], command)  # noqa: S606 - no shell is wanted
    except OSError as error:
        sys.stderr.write(f"cannot execute {command[0]}: {error.strerror}\n")
        sys.exit(CANNOT_EXECUTE)


def _end_with(parent: int, libc: ctypes.CDLL) -> None:
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the prctl: no signal will come
        os.kill(os.getpid(), signal.SIGKILL)


def _schedule_as_batch() -> None:
    try:  # noqa: SIM105 - contextlib takes longer to import than all else here
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    except OSError:  # not allowed here (by a seccomp profile, say): works, but slower
        pass


if __name__ == "__main__":
    begin = 2 + int(sys.argv[1])
    main("".join(sys.argv[2:begin]), sys.argv[begin:])
