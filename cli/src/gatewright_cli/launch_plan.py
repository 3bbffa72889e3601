"""The command line that starts a program by way of launch.py."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from gatewright_cli.specs import Scheduling

LAUNCHER = Path(__file__).with_name("launch.py")


def launched(
    command: Sequence[str],
    scheduling: Scheduling = "normal",
    descriptors: Sequence[tuple[int, int]] = (),
    confine: Mapping[str, object] | None = None,
) -> tuple[str, ...]:
    """`command`, whose program is an absolute path, as a child of this process; the plan is explained in launch.py."""
    plan = {"parent": os.getpid(), "scheduling": scheduling, "descriptors": descriptors, "confine": confine}
    return (sys.executable, "-I", "-S", str(LAUNCHER), ascii(plan), *command)
