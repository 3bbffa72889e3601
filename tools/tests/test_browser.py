"""tools/browser.py: where a browser is, and what is said where there is none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SAYS_ITS_VERSION = "#!/bin/sh\necho Chromium 156.0.0.0 of a test\n"
SAYS_HOW_TO_INSTALL = "#!/bin/sh\necho 'Install the snap first.' >&2\nexit 10\n"


def find(path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """With nothing on PATH but what is in the folder, and what a test says."""
    kept = {name: value for name, value in os.environ.items() if name not in {"CHROMIUM", "BROWSER_REQUIRED"}}
    return subprocess.run(
        [sys.executable, str(ROOT / "tools" / "browser.py"), "--find"],
        env={**kept, "PATH": str(path), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def program(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.write_text(text)
    file.chmod(0o755)
    return file


def test_the_first_that_starts_is_taken(tmp_path: Path) -> None:
    program(tmp_path, "chromium", SAYS_HOW_TO_INSTALL)
    chrome = program(tmp_path, "google-chrome", SAYS_ITS_VERSION)
    assert find(tmp_path).stdout == f"{chrome}\n"


@pytest.mark.parametrize(("environment", "status"), [({}, 0), ({"BROWSER_REQUIRED": "1"}, 1)])
def test_where_there_is_none_it_says_how_to_get_one(tmp_path: Path, environment: dict[str, str], status: int) -> None:
    done = find(tmp_path, **environment)
    assert (done.returncode, done.stdout) == (status, "")
    assert "apt install chromium" in done.stderr


def test_one_that_is_named_has_to_start(tmp_path: Path) -> None:
    named = program(tmp_path, "another-name", SAYS_ITS_VERSION)
    assert find(tmp_path, CHROMIUM=str(named)).stdout == f"{named}\n"
    done = find(tmp_path, CHROMIUM=str(program(tmp_path, "broken", SAYS_HOW_TO_INSTALL)))
    assert done.returncode == 1
    assert "expected CHROMIUM to name a browser's program" in done.stderr


def test_ci_has_to_have_one() -> None:
    assert "make test RERUNS=1 BROWSER_REQUIRED=1" in (ROOT / ".ci" / "run").read_text()
