"""Whether every Python policy can be imported where it will run: asked of the build's own environment."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec

from gatewright_builder.mistake import Mistake, refuse_if_any
from gatewright_builder.policy import Policy
from gatewright_builder.python_source import POLICY_FILE
from gatewright_builder.registry import python_module
from gatewright_builder.requirements import REQUIREMENTS_FILE

SCRIPT = Path(__file__).with_name("import_check.py")
ENDED = "the import ended the process"
EXECUTOR_MODULE = "gatewright_executor.main"
LIMIT_SECONDS = 300.0  # an import that loads a model may take minutes


class Report(msgspec.Struct, frozen=True):
    """One line of import_check.py: without `kind` that an import began, without `module` that all are over.

    `expected` is of a hook alone.
    """

    module: str
    error: str = ""
    kind: str = ""
    expected: str = ""
    missing: str | None = None
    file: str | None = None
    line: int | None = None


def check_imports(python: Path, executor: Path, policies: tuple[Policy, ...], limit: float = LIMIT_SECONDS) -> None:
    """Imports the executor and then each policy once, in one process. Raises BuildError with all that failed."""
    modules = [EXECUTOR_MODULE, *map(python_module, policies)]
    reports, end = _run([str(python), "-I", "-B", str(SCRIPT), str(executor.resolve()), *modules], limit)
    failed = [report for report in reports if report.kind]
    if end:
        last = reports[-1] if reports else Report(EXECUTOR_MODULE)
        failed.append(Report(last.module, end, ENDED))
    by_module = {python_module(policy): policy for policy in policies}
    refuse_if_any(_mistake(by_module.get(report.module), report) for report in failed)


def _run(command: list[str], limit: float) -> tuple[list[Report], str]:
    """The reports, and how the process ended, "" if well."""
    try:
        done = subprocess.run(command, capture_output=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired as error:
        return list(_reports(error.stdout)), f"no end after {limit:g} s"
    reports = list(_reports(done.stdout))
    is_whole = done.returncode == 0 and reports and reports[-1].module == ""
    return reports, "" if is_whole else f"exit code {done.returncode}"


def _reports(stdout: bytes | None) -> Iterator[Report]:
    for line in (stdout or b"").splitlines():
        yield msgspec.json.decode(line, type=Report)


def _mistake(policy: Policy | None, report: Report) -> Mistake:
    got = f"{report.kind}: {report.error}"
    if policy is None:
        cure = "remove the output folder and build again; if that does not help, the sources are broken"
        return Mistake(report.module, "an executor that can be imported", got, cure)
    prefix = f"policies/{policy.identifier}/"
    is_own = report.file is not None and report.file.startswith(prefix)
    file = report.file.removeprefix(prefix) if report.file and is_own else POLICY_FILE
    if report.expected:
        return policy.mistake(file, report.expected, report.error, "mend it: the executor refuses it", report.line)
    return policy.mistake(
        file, "a module that can be imported", got, _cure(policy, report), report.line if is_own else None
    )


def _cure(policy: Policy, report: Report) -> str:
    if report.kind == ENDED:
        return "take out what ends or stops the process (os._exit, a crash in C): it would be the executor"
    if report.missing is None:
        return "mend it: an executor imports each policy when it starts"
    name = report.missing.split(".")[0]
    if any(file.startswith((f"{name}.py", f"{name}/")) for file in policy.sources):
        return f"write from . import {name}: a policy's folder is a package"
    return f"name the package that has {name} in {policy.shown}/{REQUIREMENTS_FILE}"
