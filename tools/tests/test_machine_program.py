"""tools/browser.py and tools/valkey.py: the place of a program, and the message without one."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SAYS_HOW_TO_INSTALL = "echo 'Install the snap first.'"
DOES_NOT_START = "exit 1"


@dataclass(frozen=True)
class Tool:
    script: str
    names: tuple[str, str]
    variable: str
    required: str
    version: str
    cure: str

    def find(self, path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
        """With PATH set to the folder alone, and with the test's variables."""
        variables = {name: value for name, value in os.environ.items() if name not in {self.variable, self.required}}
        return subprocess.run(
            [sys.executable, str(ROOT / "tools" / self.script), "--find"],
            env={**variables, "PATH": str(path), **environment},
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip


TOOLS = (
    Tool("browser.py", ("chromium-headless-shell", "chromium"), "CHROMIUM", "BROWSER_REQUIRED",
         "echo Chromium 156.0.0.0 of a test", "apt install chromium-headless-shell"),
    Tool("valkey.py", ("valkey-server", "redis-server"), "VALKEY_SERVER", "VALKEY_REQUIRED",
         "echo 'Valkey server v=8.1.0 of a test'", "apt install redis-server"),
)  # fmt: skip
each_tool = pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.script)


def program(folder: Path, name: str, line: str) -> Path:
    file = folder / name
    file.write_text(f"#!/bin/sh\n{line}\n")
    file.chmod(0o755)
    return file


@each_tool
@pytest.mark.parametrize("broken", [SAYS_HOW_TO_INSTALL, DOES_NOT_START])
def test_the_first_program_that_starts_is_chosen(tmp_path: Path, tool: Tool, broken: str) -> None:
    program(tmp_path, tool.names[0], broken)
    second = program(tmp_path, tool.names[1], tool.version)
    assert tool.find(tmp_path).stdout == f"{second}\n"
    first = program(tmp_path, tool.names[0], tool.version)
    assert tool.find(tmp_path).stdout == f"{first}\n"


@each_tool
def test_a_missing_program_has_a_cure(tmp_path: Path, tool: Tool) -> None:
    for value, status in (("", 0), ("0", 0), ("1", 1)):
        result = tool.find(tmp_path, **{tool.required: value})
        assert (result.returncode, result.stdout) == (status, "")
        assert tool.cure in result.stderr


@each_tool
def test_a_named_program_has_to_start(tmp_path: Path, tool: Tool) -> None:
    path = program(tmp_path, "another-name", tool.version)
    assert tool.find(tmp_path, **{tool.variable: str(path)}).stdout == f"{path}\n"
    result = tool.find(tmp_path, **{tool.variable: str(program(tmp_path, "broken", DOES_NOT_START))})
    assert result.returncode == 1
    assert f"expected {tool.variable} to name a program that starts" in result.stderr


@each_tool
def test_ci_requires_the_program(tool: Tool) -> None:
    assert f"{tool.required}=1" in (ROOT / ".ci" / "run").read_text()
