"""What `make` does for contributors: one part's tests, fragments of changes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(*command: str) -> subprocess.CompletedProcess[str]:
    # Without the variables that a make that runs the tests passes on.
    variables = {"ALL", "PART", "RECORD", "SEED", "WORKERS"}
    environment = {name: os.environ[name] for name in os.environ.keys() - variables if not name.startswith("MAKE")}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60)


def test_make_passes_its_arguments_to_the_suite() -> None:
    result = run("make", "-n", "test", "PART=cli", "SEED=7", "ALL=1")
    assert result.stdout.splitlines()[-1] == "python tools/run_tests.py --workers 4 --all  --part cli --seed 7"


@pytest.mark.parametrize(
    ("name", "text", "mistake"),
    [
        ("a-header.added.md", "A header.\n", ""),
        ("2026-11-26-a-header.md", "A header.\n", "expected SLUG.TYPE.md, the type one of security, "),
        ("a-header.removal.md", "A header.\n", "expected SLUG.TYPE.md, the type one of security, "),
        ("a-header.added.md", "\n", "expected a description of the change, got an empty file"),
    ],
)
def test_a_fragment_is_named_by_its_type(tmp_path: Path, name: str, text: str, mistake: str) -> None:
    project = tmp_path / "project"
    (project / "changes").mkdir(parents=True)
    (project / "tools").mkdir()
    shutil.copy(ROOT / "tools" / "fragments.py", project / "tools")
    shutil.copy(ROOT / "pyproject.toml", project)
    (project / "changes" / name).write_text(text)
    result = run(sys.executable, str(project / "tools" / "fragments.py"))
    assert (result.returncode == 0) == (mistake == "")
    assert mistake in result.stderr


def test_dependabot_looks_at_every_go_module() -> None:
    modules = re.findall(r"^\t\./(\S+)", (ROOT / "go.work").read_text(), re.MULTILINE)
    updates = (ROOT / ".github" / "dependabot.yml").read_text().partition("of go.work\n")[2].partition("schedule")[0]
    assert re.findall(r"- /(\S+)", updates) == sorted(modules), "expected the folders of go.work, sorted"
