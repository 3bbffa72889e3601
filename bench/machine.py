"""The machine and the versions of a run."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from bench import peers
from bench.gateway import BUILD
from bench.processes import environment, program
from bench.settings import Settings

EXECUTOR_PYTHON = BUILD.output / "python-env" / "default" / "bin" / "python"
OF_EXECUTOR = "import hpack, platform; print('Python', platform.python_version() + ', hpack', hpack.__version__)"


def describe(settings: Settings, arguments: Sequence[str]) -> str:
    """Command, date, versions, machine and settings, as a Markdown list."""
    lines = (
        f"`{' '.join(['python -m bench', *arguments])}`, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, commit {commit()}",
        f"{envoy_version()}, {go_version()}, {executor_versions()}",
        *(
            f"peers: {'; '.join(versions)}"
            for versions in [peers.versions(row.key for row in settings.rows)]
            if versions
        ),
        f"{os.cpu_count()} cores, {cpu_model(Path('/proc/cpuinfo').read_text())}, Linux {platform.release()}",
        f"rounds: {settings.rounds}, samples of {settings.duration:g} s after {settings.warmup:g} s of warm-up, "
        f"{loop(settings)}, {settings.concurrency} Envoy workers, "
        f"executor processes: {settings.executors}, each with {settings.workers} workers",
    )
    return "\n".join(f"- {line}" for line in lines)


def describe_command(arguments: Sequence[str]) -> str:
    """Like `describe`, for a measurement with settings of its own."""
    lines = (
        f"`{' '.join(['python -m bench', *arguments])}`, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, commit {commit()}",
        f"{envoy_version()}, {go_version()}, {_output(sys.executable, '--version')}",
        f"{os.cpu_count()} cores, {cpu_model(Path('/proc/cpuinfo').read_text())}, Linux {platform.release()}",
    )
    return "\n".join(f"- {line}" for line in lines)


def describe_executors(words: str, rounds: int, duration: float) -> str:
    """Like `describe`, for executors without a gateway."""
    lines = (
        f"`{words}`, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, commit {commit()}",
        f"{go_version()}, {_output(sys.executable, '-c', OF_EXECUTOR)}",
        f"{os.cpu_count()} cores, {cpu_model(Path('/proc/cpuinfo').read_text())}, Linux {platform.release()}",
        f"rounds: {rounds}, samples of {duration:g} s",
    )
    return "\n".join(f"- {line}" for line in lines)


def loop(settings: Settings) -> str:
    """The kind of load, in words."""
    return f"open loop at {settings.rate:g} requests/s" if settings.rate else "closed loop"


def commit() -> str:
    """The short hash of the commit, and whether files differ from it."""
    changed = subprocess.run(["git", "diff", "--quiet", "HEAD"], check=False).returncode == 1
    return _output("git", "rev-parse", "--short=12", "HEAD") + (" with changes" if changed else "")


def envoy_version() -> str:
    """ "Envoy 1.40.0"."""
    return f"Envoy {parse_envoy_version(_output(program('envoy', '`make setup` installs it'), '--version'))}"


def parse_envoy_version(text: str) -> str:
    """The number in "envoy  version: HASH/1.40.0/Clean/RELEASE/BoringSSL"."""
    match = re.search(r"/(\d+\.\d+\.\d+[^/]*)/", text)
    return match[1] if match else "of an unknown version"


def go_version() -> str:
    """ "Go 1.26.8"."""
    return f"Go {_output(program('go', '`make setup` installs it'), 'env', 'GOVERSION').removeprefix('go')}"


def executor_versions() -> str:
    """Versions in the environment of the executor, or in our own if there is none."""
    python = EXECUTOR_PYTHON if EXECUTOR_PYTHON.exists() else Path(sys.executable)
    return _output(str(python), "-c", OF_EXECUTOR)


def cpu_model(cpuinfo: str) -> str:
    """The first processor's name."""
    match = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    return match[1].strip() if match else platform.machine()


def _output(*command: str) -> str:
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment())
    return result.stdout.strip() if result.returncode == 0 else "unknown"
