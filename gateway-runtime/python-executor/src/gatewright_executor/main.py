"""The executor as a process. The build output's main.py is one line that calls `main`."""

from __future__ import annotations

import argparse
import faulthandler
import gc
import logging
import os
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Sequence
from pathlib import Path

from gatewright import store
from gatewright.metrics import registry

from gatewright_executor import logs, memory, policy_threads
from gatewright_executor.grpc.listener import Address, SocketError
from gatewright_executor.policies import policy_loader
from gatewright_executor.policies.import_progress import ImportProgress
from gatewright_executor.policies.policy_loader import REGISTRY, RegistryError
from gatewright_executor.process_privacy import keep_private
from gatewright_executor.running.hung import HUNG_SECONDS
from gatewright_executor.server import Server
from gatewright_executor.session.store_calls import store_of_running_instance

SWITCH_SECONDS = 0.001  # a fifth of Python's default: a policy that computes releases the GIL sooner
MAX_WORKERS = 256
STACK_SIGNAL = signal.SIGUSR2
EXIT_SECONDS = 1.0  # for threads and atexit functions that policies left behind
log = logging.getLogger("gatewright_executor")


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs until SIGTERM or SIGINT, and exits with 0. Exits with 1 if it cannot start, and logs why."""
    gc.freeze()  # imported modules stay: neither a collection nor the end of the process goes through them
    options = _parse(arguments)
    logs.set_up(options.log_level)
    policy_threads.set_up()
    if options.stacks is not None:  # faulthandler works without the interpreter, which a policy may hold
        faulthandler.register(STACK_SIGNAL, file=options.stacks, all_threads=False)
    registry.serve(logs.running_policy)
    store.use(store_of_running_instance)
    try:
        keep_private()
    except OSError as error:
        log.warning("other processes of this user can read this one: %s", error.strerror)
    warnings.filterwarnings("default", "policy .* uses get_policy", DeprecationWarning)
    sys.setswitchinterval(SWITCH_SECONDS)
    signals: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda came, _: signals.append(came))
    code = 0
    try:
        _serve(options, signals)
    except (RegistryError, SocketError) as error:
        log.error("cannot start: %s", error)
        code = 1
    _exit_for_sure(code)
    sys.exit(code)


def _serve(options: argparse.Namespace, signals: list[int]) -> None:
    modules = policy_loader.read_registry(options.registry)
    with ImportProgress(len(modules)) as progress:
        policies = policy_loader.load_all(modules, progress.start_import)
    server = Server(policies, options.workers, options.max_workers, options.hung_seconds, options.peers)
    server.start(options.listen)
    if options.memory_limit:
        memory.limit(options.memory_limit)
    broken = ", ".join(policy.key for policy in policies.values() if policy.failure)
    where = options.listen if isinstance(options.listen, Path) else f"descriptor {options.listen}"
    log.info("serving %d policies on %s%s", len(policies), where, f"; not loaded: {broken}" if broken else "")
    _wait_for(signals)
    log.info("stopping: executions under way have %g s to end", options.drain_seconds)
    server.stop(options.drain_seconds)
    if isinstance(options.listen, Path):
        options.listen.unlink(missing_ok=True)
    log.info("stopped")


def _wait_for(signals: list[int]) -> None:
    """Waits until a signal handler has added a signal to the list.

    Handlers run in this thread only, but the kernel may deliver a signal to any thread: Python then writes to a
    descriptor, which wakes this one.
    """
    woken, wakes = socket.socketpair()
    wakes.setblocking(False)
    signal.set_wakeup_fd(wakes.fileno(), warn_on_full_buffer=False)
    while not signals:
        woken.recv(64)


def _exit_for_sure(code: int) -> None:
    """Ends the process after EXIT_SECONDS at most: Python would wait for a policy's thread that never ends."""
    last = threading.Timer(EXIT_SECONDS, os._exit, [code])
    last.daemon = True
    last.start()


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python main.py", description="Runs Gatewright's Python policies.")
    parser.add_argument("--listen", type=_address, required=True, metavar="unix:PATH | fd:N",
                        help="the socket to serve on: a path, or a descriptor of one that listens")  # fmt: skip
    parser.add_argument("--peers", type=Path, metavar="FILE",
                        help="the supervisor's file of pids that may connect (default: any of this user)")  # fmt: skip
    parser.add_argument("--stacks", type=_descriptor, metavar="fd:N",
                        help=f"where a thread that gets {STACK_SIGNAL.name} writes its stack")  # fmt: skip
    parser.add_argument("--workers", type=_positive, default=32, metavar="N",
                        help="executions of one instance at once (default: 32)")  # fmt: skip
    parser.add_argument("--max-workers", type=_positive, metavar="N",
                        help=f"the same, if they wait (default: {MAX_WORKERS}, or --workers if more)")  # fmt: skip
    parser.add_argument("--registry", type=Path, default=_beside_main(), metavar="FILE",
                        help=f"the generated registry (default: {REGISTRY}.py beside main.py)")  # fmt: skip
    parser.add_argument("--log-level", choices=logs.LEVELS, default="info", help="(default: info)")
    parser.add_argument("--drain-seconds", type=float, default=10.0, metavar="S",
                        help="seconds that executions have to end at a stop (default: 10)")  # fmt: skip
    parser.add_argument("--hung-seconds", type=float, default=HUNG_SECONDS, metavar="S",
                        help=f"seconds past a deadline that make it hung (default: {HUNG_SECONDS:g})")  # fmt: skip
    parser.add_argument("--memory-limit", type=_positive, metavar="BYTES",
                        help="resident memory above which allocations fail (default: none)")  # fmt: skip
    options = parser.parse_args(arguments)
    if options.max_workers is None:
        options.max_workers = max(MAX_WORKERS, options.workers)
    elif options.max_workers < options.workers:
        parser.error(f"--max-workers: expected at least --workers, {options.workers}, got {options.max_workers}")
    return options


def _beside_main() -> Path:
    return Path(sys.argv[0]).absolute().parent / f"{REGISTRY}.py"


def _descriptor(text: str) -> int:
    scheme, _, rest = text.partition(":")
    if scheme != "fd" or not rest.isdecimal():
        raise argparse.ArgumentTypeError(f"expected fd:N, got {text}")
    return int(rest)


def _address(text: str) -> Address:
    scheme, _, rest = text.partition(":")
    if scheme == "fd":
        return _descriptor(text)
    if scheme != "unix" or not rest:
        raise argparse.ArgumentTypeError(f"expected unix:PATH or fd:N, got {text}")
    return Path(rest)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, got {text}")
    return int(text)
