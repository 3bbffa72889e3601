"""Processes that die or stand still."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from e2e.faults.contract import Contract, Fault, Outcomes
from e2e.faults.environment import LoadedEnvironment, Setting, now
from e2e.faults.row import Row
from e2e.kit.gateway import attach
from e2e.kit.load import Flow, pause, run_load
from e2e.kit.shared_build import is_engine_in_envoy

POLICY_ERRORS: Outcomes = frozenset({"503", "504"})  # crashed, unavailable, overloaded; timeout
NO_ENGINE: Outcomes = frozenset({"503"})
NO_ENVOY: Outcomes = frozenset({"refused", "broken"})
ALL = ("go", "python", "bare")
WITHOUT_ENVOY = dict.fromkeys(ALL, NO_ENVOY)
WITHOUT_ENGINE = (
    Contract(meanwhile=WITHOUT_ENVOY)
    if is_engine_in_envoy()
    else Contract(recovery=1.0, meanwhile={"go": NO_ENGINE, "python": NO_ENGINE})
)
"""For faults of the process that the engine runs in."""
SLOW = Flow("faulty", "/faulty/x", 20.0)
UNACCEPTED_SECONDS = 0.1
EXECUTOR = "executor-default-0"
STOPPED_SECONDS = 10.0
NOTICED_SECONDS = 20.0


def kill(environment: LoadedEnvironment, name: str) -> Fault:
    """kill -9; returns when another process runs in its place."""
    start = now()
    environment.restarted(name, environment.gateway.kill(name))
    return Fault(start, start)


def stop_executor(environment: LoadedEnvironment) -> Fault:
    """The fault ends when it has been noticed."""
    start = now()
    with pause_process(environment, EXECUTOR):
        pause(STOPPED_SECONDS)
    return Fault(start, environment.logged_at("executor is replaced"))


@contextmanager
def pause_process(environment: LoadedEnvironment, name: str) -> Iterator[int]:
    """SIGSTOP: it is there, keeps its sockets, and does nothing. Its pid."""
    pid = environment.gateway.kill(name, signal.SIGSTOP)
    try:
        yield pid
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def stop_for_good(environment: LoadedEnvironment, name: str) -> Fault:
    """The process is never continued: the supervisor has to notice, kill and restart it."""
    start = now()
    with pause_process(environment, name) as pid:
        environment.restarted(name, pid, NOTICED_SECONDS)
    return Fault(start, environment.logged_at("process is killed"))


def engine_without_controller(environment: LoadedEnvironment) -> Fault:
    """The engine comes back from its disk: the controller is stopped meanwhile."""
    with pause_process(environment, "controller"):
        return kill(environment, "engine")


def terminate(environment: LoadedEnvironment) -> Fault:
    """SIGTERM to the gateway: it answers accepted requests, then accepts no more. The fault is the moment when it
    stops listening: the kernel resets connections that were not accepted by then.
    """
    with run_load(environment.tool, environment.address, [SLOW]) as slow:
        slow.flowing()
        environment.gateway.process.send_signal(signal.SIGTERM)
        environment.gateway.process.wait(40)
        environment.others += slow.stop()
    closed = min(answer.due for answer in environment.answers() if answer.outcome == "refused")
    return Fault(closed - UNACCEPTED_SECONDS, closed)


def check_exit_status(environment: LoadedEnvironment) -> list[str]:
    status = environment.gateway.process.poll()
    return [] if status == 0 else [f"expected exit status 0, got {status}"]


ROWS = [
    Row(
        "executor kill -9, 1 process",
        lambda environment: kill(environment, EXECUTOR),
        Contract(meanwhile={"python": POLICY_ERRORS}),
    ),
    Row(
        "executor kill -9, 1 of 2 processes",
        lambda environment: kill(environment, EXECUTOR),
        Contract(meanwhile={"python": POLICY_ERRORS}),
        Setting(options=("--executors", "2")),
    ),
    Row(
        "executor SIGSTOP 10 s, 1 process",
        stop_executor,
        Contract(recovery=1.0, meanwhile={"python": POLICY_ERRORS}),
    ),
    Row(
        "executor SIGSTOP 10 s, 1 of 2 processes",
        stop_executor,
        Contract(recovery=1.0, meanwhile={"python": POLICY_ERRORS}),
        Setting(options=("--executors", "2")),
    ),
    Row(
        "engine kill -9, controller away",
        engine_without_controller,
        WITHOUT_ENGINE,
    ),
    Row(
        "Envoy kill -9",
        lambda environment: kill(environment, "envoy"),
        Contract(meanwhile=WITHOUT_ENVOY),
    ),
    Row("controller kill -9", lambda environment: kill(environment, "controller")),
    Row(
        "engine SIGSTOP",
        lambda environment: stop_for_good(environment, "engine"),
        WITHOUT_ENGINE,
    ),
    Row(
        "Envoy SIGSTOP",
        lambda environment: stop_for_good(environment, "envoy"),
        Contract(recovery=1.0, meanwhile=WITHOUT_ENVOY),
    ),
    Row("controller SIGSTOP", lambda environment: stop_for_good(environment, "controller")),
    Row(
        "SIGTERM under load",
        terminate,
        Contract(
            recovery=0.0,
            meanwhile=dict.fromkeys((*ALL, "faulty"), frozenset({"broken"})),
            afterwards=dict.fromkeys((*ALL, "faulty"), frozenset({"refused"})),
        ),
        Setting(apis=(("faulty", attach("faulty", {"how": "sleep", "seconds": 0.7})),)),
        check=check_exit_status,
    ),
]
