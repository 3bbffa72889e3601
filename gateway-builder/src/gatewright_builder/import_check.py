"""Whether every Python policy can be imported where it will run: asked of the build's own environment."""

from __future__ import annotations

import contextlib
import logging
import os
import pkgutil
import re
import signal
import subprocess
import threading
import time
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import sdk
from gatewright_documents.mistake import Mistake

from gatewright_builder.mistake import refuse_if_any
from gatewright_builder.policy import Policy
from gatewright_builder.python_source import POLICY_FILE
from gatewright_builder.registry_files import python_module
from gatewright_builder.requirements import REQUIREMENTS_FILE
from gatewright_builder.tool_environment import for_imports

SCRIPT = Path(__file__).with_name("import_runner.py")
ENDED = "the import ended the process"
HANGS = "no end of the import"
EXECUTOR_MODULE = "gatewright_executor.main"
LIMIT_SECONDS = 60.0
GRACE_SECONDS = 5.0
REFUSED = {
    "network": "do it in prepare, or in the first execution: a build imports policies without a network",
    "write": "do it in prepare, or in the first execution, or below TMPDIR: the imports of a build write nothing else",
}
logger = logging.getLogger(__name__)
FRAME = re.compile(r'^  File "(?P<file>.+)", line (?P<line>\d+) in (?P<function>.+)$')
MOST_FRAMES = 6
SDK = ("sdk", "gatewright")


class Report(msgspec.Struct, frozen=True):
    """One line of import_runner.py: without `kind` that an import began, without `module` that all are over.

    `expected` is of a hook alone. `refused`: what it is kept from, "network" or "write", where it failed for that.
    `lacks`: what should keep it, and does not.
    """

    module: str
    error: str = ""
    kind: str = ""
    expected: str = ""
    missing: str | None = None
    refused: str = ""
    lacks: list[str] = []
    file: str | None = None
    line: int | None = None


class ImportCheck:
    """One process that imports the executor and then each policy of a group once."""

    def __init__(
        self, python: Path, executor: Path, policies: tuple[Policy, ...], limit: float = LIMIT_SECONDS
    ) -> None:
        self._policies = {python_module(policy): policy for policy in policies}
        self._modules = [EXECUTOR_MODULE, *self._policies]
        self._python, self._executor, self._limit = str(python), executor.resolve(), limit
        self._reports: list[Report] = []
        self.seconds: dict[str, float] = {}  # that imports took, by name:version
        self._began = 0.0
        self._stack: list[str] = []  # faulthandler's lines
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = False

    def run(self) -> None:
        """Raises BuildError with all that failed. What comes after an import of more than `limit` s is not tried."""
        status = self._listen()
        failed = [report for report in self._reports if report.kind]
        if not self._is_over:
            failed.append(self._unfinished(status))
        refuse_if_any(self._mistake(report) for report in failed)

    def stop(self) -> None:
        """Ends it, now or as soon as it runs; what it says of that does not count."""
        self._stopped = True
        if self._process is not None:
            _kill(self._process)

    @property
    def _is_over(self) -> bool:
        """Whether the process has said that it has imported all."""
        return bool(self._reports) and not self._reports[-1].module

    @property
    def under_way(self) -> str:
        """What is imported at this moment, NAME:VERSION of a policy or the executor; "" when all is over."""
        module = self._reports[-1].module if self._reports else EXECUTOR_MODULE
        return self._policies[module].key if module in self._policies else "the executor" if module else ""

    def _listen(self) -> int:
        """Takes in what the process says; its exit status."""
        ours = str(os.getpid()), f"{self._limit:g}", str(self._executor)
        command = [self._python, "-I", "-S", "-B", str(SCRIPT), *ours, *self._modules]
        nothing, pipe = subprocess.DEVNULL, subprocess.PIPE
        with (
            TemporaryDirectory(prefix="gatewright-imports-", ignore_cleanup_errors=True) as folder,
            subprocess.Popen(
                command, env=for_imports(folder), stdin=nothing, stdout=pipe, stderr=nothing, process_group=0
            ) as process,
        ):
            assert process.stdout is not None
            self._process = process
            if self._stopped:
                _kill(process)
            last = threading.Timer(self._limit * len(self._modules) + GRACE_SECONDS, _kill, [process])
            last.daemon = True  # should its own watch fail it
            last.start()
            try:
                for line in process.stdout:
                    self._read_line(line)
                    if self._is_over:  # a process that a policy has left behind may hold the pipe open
                        break
            finally:
                last.cancel()
                _kill(process)
        return process.returncode

    def _read_line(self, line: bytes) -> None:
        if line.startswith(b"{"):
            report = msgspec.json.decode(line, type=Report)
            if report.lacks:
                _say_what_lacks(tuple(report.lacks))
            elif report.module or self._reports:
                self._measure()
                self._reports.append(report)
        else:
            self._stack.append(line.decode("utf-8", "backslashreplace").rstrip())

    def _measure(self) -> None:
        """An import ends with the beginning of the next one, or with what is said of it."""
        now = time.monotonic()
        last = self._reports[-1].module if self._reports else ""
        if last in self._policies and not self._reports[-1].kind:
            self.seconds[self._policies[last].key] = now - self._began
        self._began = now

    def _unfinished(self, status: int) -> Report:
        """The import that ended the process, or that the process was ended for."""
        last = self._reports[-1] if self._reports else Report(EXECUTOR_MODULE)
        if not self._stack:
            return Report(last.module, f"exit code {status}", ENDED)
        file, line, stack = _main_thread(self._stack, self._executor)
        return Report(last.module, f"{self._limit:g} s; it is at {stack}", HANGS, file=file, line=line)

    def _mistake(self, report: Report) -> Mistake:
        policy, got = self._policies.get(report.module), f"{report.kind}: {report.error}"
        if policy is None:
            cure = "remove the output folder and build again; if that does not help, the sources are broken"
            return Mistake.in_file(report.module, "an executor that can be imported", got, cure)
        prefix = f"policies/{policy.identifier}/"
        is_own = report.file is not None and report.file.startswith(prefix)
        file = report.file.removeprefix(prefix) if report.file and is_own else POLICY_FILE
        if report.expected:
            return policy.mistake(file, report.expected, report.error, "fix it: the executor refuses it", report.line)
        return policy.mistake(
            file, "a module that can be imported", got, _cure(policy, report), report.line if is_own else None
        )


def _kill(process: subprocess.Popen[bytes]) -> None:
    """With what policies have started in it: that would go on after the build. A group has its number as long as its
    first process has not been waited for."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _main_thread(lines: list[str], folder: Path) -> tuple[str | None, int | None, str]:
    """Where the main thread is: the last place below folder, as file and line, and its innermost frames in words."""
    begins = max((number for number, line in enumerate(lines) if "most recent call first" in line), default=0)
    frames = [found for line in lines[begins:] if (found := FRAME.match(line))]
    shown = [frame for frame in frames if "importlib" not in frame["file"] and frame["file"] != str(SCRIPT)]
    words = " < ".join(
        f"{Path(frame['file']).name}:{frame['line']} in {frame['function']}" for frame in shown[:MOST_FRAMES]
    )
    for frame in frames:
        if frame["file"].startswith(f"{folder}{os.sep}"):
            return os.path.relpath(frame["file"], folder), int(frame["line"]), words
    return None, None, words


@cache
def _say_what_lacks(lacks: tuple[str, ...]) -> None:
    logger.debug("policies are imported without what this kernel lacks: %s", "; ".join(lacks))


def sdk_cure(missing: str) -> str:
    """Which module of the SDK was meant."""
    known = [f"sdk.{module.name}" for module in pkgutil.iter_modules(sdk.__path__)]
    alike = get_close_matches(f"sdk.{missing.partition('.')[2]}", known, 1) if "." in missing else []
    return f"write {alike[0]}" if alike else f"the SDK has {', '.join(known)}"


def _cure(policy: Policy, report: Report) -> str:
    if report.kind == ENDED:
        return "take out what ends or stops the process (os._exit, a crash in C): it would be the executor"
    if report.kind == HANGS:
        return "do it in prepare, or in the first execution; an import that has to take longer: --import-limit"
    if report.refused:
        return REFUSED[report.refused]
    if report.kind == KeyError.__name__:
        return "fix it; a variable of the environment is for prepare, or the first execution: a build has none of them"
    if report.missing is None:
        return "fix it: an executor imports each policy when it starts"
    name = report.missing.split(".")[0]
    if name in SDK:
        return sdk_cure(report.missing)
    if any(file.startswith((f"{name}.py", f"{name}/")) for file in policy.sources):
        return f"write from . import {name}: a policy's folder is a package"
    return f"name the package that has {name} in {policy.shown}/{REQUIREMENTS_FILE}"
