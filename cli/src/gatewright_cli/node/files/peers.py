"""The pids of a node's processes, by which they recognize each other on sockets: peers.json in the run directory."""

from __future__ import annotations

import json
import os
from pathlib import Path

from gatewright_controller.local.peers import ENGINE, SUPERVISOR, PeerCheck, Rule

from gatewright_cli.node.files.run_dir import PEERS, RunDir
from gatewright_cli.supervision.logs.output import LogOutput

ROLES = ("controller", ENGINE, "envoy")
"""Names of the processes in the file; those of a second process that takes the place of one end with a number."""


class Peers:
    """Keeps the file up to date. A pid is removed before its process is reaped, since another process may get it."""

    def __init__(self, run_dir: RunDir) -> None:
        self._pids = {SUPERVISOR: os.getpid()}
        self._run_dir = run_dir
        self._write()

    def on_pid(self, name: str, pid: int | None) -> None:
        """Records that the process of that name has started, or is about to be reaped."""
        if name.partition(".")[0] not in ROLES:
            return
        if pid is None:
            self._pids.pop(name, None)
        else:
            self._pids[name] = pid
        self._write()

    def engines_check(self, at: Path, output: LogOutput) -> PeerCheck:
        """The check for a socket of this process that also serves the engine, which scrapes metrics there."""
        return _check(Rule(lambda: self._pids, (SUPERVISOR, ENGINE)), at, output)

    def _write(self) -> None:
        self._run_dir.write(str(PEERS), json.dumps(self._pids))


def own_check(at: Path, output: LogOutput) -> PeerCheck:
    """The check for a socket of this process, the supervisor: it serves itself, and processes that it did not start."""
    return _check(Rule(lambda: {SUPERVISOR: os.getpid()}, (SUPERVISOR,)), at, output)


def _check(rule: Rule, at: Path, output: LogOutput) -> PeerCheck:
    def warn(at: str, pid: int, reason: str) -> None:
        output.event("connection refused", "warning", socket=at, pid=pid, reason=reason)

    return PeerCheck(rule, at, warn)
