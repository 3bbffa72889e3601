"""The pids of a node's processes, for those of them that must know who connects: peers.json in the run directory."""

from __future__ import annotations

import json
import os
from pathlib import Path

from gatewright_controller.local.peers import ENGINE, SUPERVISOR, PeerCheck, Rule

from gatewright_cli.node.run_dir import PEERS, RunDir
from gatewright_cli.supervision.log_output import LogOutput

ROLES = ("controller", ENGINE, "envoy")
"""Names of processes that others are told of."""


class Peers:
    """Keeps the file as it is true. A pid stands there no longer than it is its process's: until that is reaped."""

    def __init__(self, run_dir: RunDir) -> None:
        self._pids = {SUPERVISOR: os.getpid()}
        self._run_dir = run_dir
        self._write()

    def on_pid(self, name: str, pid: int | None) -> None:
        """The process of that name has begun, or is about to be reaped."""
        if name not in ROLES:
            return
        if pid is None:
            self._pids.pop(name, None)
        else:
            self._pids[name] = pid
        self._write()

    def engines_check(self, at: Path, output: LogOutput) -> PeerCheck:
        """For a socket of this process that hears the engine too, which gathers metrics there."""
        return _check(Rule(lambda: self._pids, (SUPERVISOR, ENGINE)), at, output)

    def _write(self) -> None:
        self._run_dir.write(str(PEERS), json.dumps(self._pids))


def own_check(at: Path, output: LogOutput) -> PeerCheck:
    """For a socket of this process, the supervisor: it hears itself, and what it has not started."""
    return _check(Rule(lambda: {SUPERVISOR: os.getpid()}, (SUPERVISOR,)), at, output)


def _check(rule: Rule, at: Path, output: LogOutput) -> PeerCheck:
    def warn(at: str, pid: int, why: str) -> None:
        output.event("connection refused", "warning", socket=at, pid=pid, reason=why)

    return PeerCheck(rule, at, warn)
