"""Pages that are one session in a shell: their files and commands as a program, and what each block of it prints."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from e2e.kit.gateway import eventually

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def script(text: str) -> str:
    """The page as a program: what has a file's name above it is written there, and commands are run.

    The output of each block of commands is behind a line `## HEADING NUMBER`. Blocks of text are what commands print.
    """
    lines, numbers = ["set -eu"], dict[str, int]()
    for match in BLOCK.finditer(text):
        before = text[: match.start()].rstrip()
        heading = before.rpartition("\n## ")[2].splitlines()[0]
        language, content = match.groups()
        if language == "sh":
            numbers[heading] = numbers.get(heading, 0) + 1
            lines.append(f"echo '## {heading} {numbers[heading]}'\n{content}")
        elif language != "text":
            name = re.findall(r"`([\w/.]+\.\w+)`", before.splitlines()[-1])[0]
            folder = f"mkdir -p {name.rpartition('/')[0]}\n" if "/" in name else ""
            lines.append(f"{folder}cat > {name} <<'EOF'\n{content}EOF\n")
    return "\n".join(lines)


def shown_outputs(text: str) -> dict[str, str]:
    """What the page says that a block of commands prints, by HEADING NUMBER."""
    shown, numbers, block = dict[str, str](), dict[str, int](), ""
    for match in BLOCK.finditer(text):
        heading = text[: match.start()].rpartition("\n## ")[2].splitlines()[0]
        language, content = match.groups()
        if language == "sh":
            numbers[heading] = numbers.get(heading, 0) + 1
            block = f"{heading} {numbers[heading]}"
        elif language == "text":
            shown[block] = content
    return shown


def outputs_of(program: str, place: Path, environment: Mapping[str, str], logs: Path) -> dict[str, str]:
    """Runs the program in a folder. What each block prints, errors with it; fails with the files `*.log` of `logs`."""
    file = place / "page.sh"
    file.write_text(program)
    command = ["bash", str(file)]
    result = subprocess.run(
        command,
        cwd=place,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=240,
    )
    log = "\n".join(f"{log.name}:\n{log.read_text()[-4000:]}" for log in sorted(logs.glob("*.log")))
    assert result.returncode == 0, f"{result.stdout}\n{log}"
    parts = re.split(r"^## (.*)\n", result.stdout, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def stop(folder: Path) -> None:
    """Ends the processes that files `*.pid` of a folder name."""
    for file in folder.glob("*.pid"):
        pid = int(file.read_text())
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        eventually(f"{file.name} has ended", lambda pid=pid: not Path(f"/proc/{pid}/exe").exists(), 30)  # type: ignore[misc]
