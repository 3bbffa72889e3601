from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from gatewright_controller.local import peers


def test_which_process_is_below_which() -> None:
    assert peers.is_below(os.getpid(), os.getppid())
    assert not peers.is_below(os.getppid(), os.getpid())


def test_a_proc_that_hides_processes_is_told_from_one_that_has_ended(tmp_path: Path) -> None:
    """hidepid of proc(5): processes of other users are not listed."""
    ended = subprocess.Popen(["true"])
    ended.wait()
    with pytest.raises(FileNotFoundError):
        peers.is_below(ended.pid, os.getpid())
    with pytest.raises(OSError, match=f"hides process {os.getpid()}: mount it without hidepid"):
        peers.is_below(os.getpid(), ended.pid, tmp_path)
