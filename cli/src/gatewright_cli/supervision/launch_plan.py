"""The command line that starts a program through launch.py."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from gatewright_cli.supervision.specs import Scheduling

LAUNCHER = Path(__file__).with_name("launch.py")
LONGEST_ARGUMENT = 100_000  # execve(2): 128 KiB for one; the plan names each folder of policies twice


def launch_command(
    command: Sequence[str],
    scheduling: Scheduling = "normal",
    descriptors: Sequence[tuple[int, int]] = (),
    sandbox: Mapping[str, object] | None = None,
) -> tuple[str, ...]:
    """`command`, whose program is an absolute path, as a child of this process; the plan is explained in launch.py."""
    plan = {"parent": os.getpid(), "scheduling": scheduling, "descriptors": descriptors, "sandbox": sandbox}
    text = ascii(plan)
    pieces = [text[begin : begin + LONGEST_ARGUMENT] for begin in range(0, len(text), LONGEST_ARGUMENT)]
    return (sys.executable, "-I", "-S", str(LAUNCHER), str(len(pieces)), *pieces, *command)
