"""Compiles what tests import, once in a checkout, before several processes would each compile all of it.

An installer leaves no bytecode, and a clone has none. Each of the processes that pytest-xdist starts imports all files
of tests, at the same moment as the others: 25 s of CPU for the units where nothing is compiled, 9 where all is.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

from suite.commands import RESULTS
from suite.components import ROOT

STAMP = RESULTS / "compiled"
ENVIRONMENT = ROOT / ".venv" / ".ready"
"""The file of tools/setup.py with the digest of the installed packages."""


def compile_once(tests: Sequence[str], workers: int) -> None:
    """Imports the tests without compiled modules in one process, so that all workers find these.
    The workers report a test that cannot be imported.
    """
    if workers < 2 or not tests or not ENVIRONMENT.exists():
        return
    environment = ENVIRONMENT.read_text()
    if STAMP.exists() and STAMP.read_text() == environment:
        return
    command = [sys.executable, "-m", "pytest", "--collect-only", "-qq", *tests]
    subprocess.run(command, cwd=ROOT, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    STAMP.write_text(environment)
