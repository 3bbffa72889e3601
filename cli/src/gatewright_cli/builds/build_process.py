"""A process that has loaded the builder and makes each build in a fork of itself. `build_runs.py` starts it.

    python -m gatewright_cli.builds.build_process MANIFEST OUTPUT IMPORT_SECONDS [module]

stdin, a byte each: BUILD begins a build, STOP ends the running one, the end of the file ends the process.
stdout: the lines of `gatewright build --json`, then {"event": "ended", "status"}, the exit status, or the signal's
number below zero.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import sys
from functools import partial
from pathlib import Path

import cyclonedx.contrib.license.factories
import cyclonedx.model.bom
import cyclonedx.output.json  # noqa: F401 - a build needs the three late, and would take long to load them
from gatewright_builder.build import BuildOptions
from gatewright_builder.tool_environment import for_builder

from gatewright_cli.builds.build_as_json import build_as_json
from gatewright_cli.supervision import forked

BUILD, STOP = b"b", b"s"


def main(options: BuildOptions) -> None:
    """Serves commands until stdin ends."""
    keep_builder_environment()
    gc.freeze()  # loaded modules are never garbage: forks then share their memory
    build: _Build | None = None
    while True:
        readable, _, _ = select.select([0, *([build.pidfd] if build else [])], [], [])
        if build and build.pidfd in readable:
            ended = {"event": "ended", "status": build.reap()}
            os.write(1, b"\n" + json.dumps(ended).encode() + b"\n")  # a build that was killed may have left half a line
            build = None
        if 0 in readable:
            command = os.read(0, 1)
            if command == BUILD and build is None:
                build = _Build(options)
            elif build and command != BUILD:
                build.kill()
            if not command:
                return


def keep_builder_environment() -> None:
    """Reduces the run's environment to the builder's, since builds start tools, which start other programs."""
    kept = for_builder()
    os.environ.clear()
    os.environ.update(kept)


class _Build:
    """A build under way, in a process group of its own with all that it starts."""

    def __init__(self, options: BuildOptions) -> None:
        self._pid = forked.fork(partial(_build_here, options), signal.SIGKILL)
        os.setpgid(self._pid, self._pid)  # parent and child both do, since either may come first
        self.pidfd = os.pidfd_open(self._pid)

    def kill(self) -> None:
        os.killpg(self._pid, signal.SIGKILL)

    def reap(self) -> int:
        os.close(self.pidfd)
        self.kill()  # what is left of its process group
        return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])


def _build_here(options: BuildOptions) -> int:
    """Makes the build in this process. Returns its exit status."""
    os.setpgid(0, 0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    return build_as_json(options)


if __name__ == "__main__":
    paths, module = (Path(sys.argv[1]), Path(sys.argv[2])), sys.argv[4:] == ["module"]
    main(BuildOptions(*paths, import_seconds=float(sys.argv[3]), module=module))
