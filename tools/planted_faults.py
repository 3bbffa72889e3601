"""Plants one fault at a time in a copy of HEAD, and looks whether the tests find it: `make planted-faults`.

    python tools/planted_faults.py                 all faults of tools/planted_faults.toml
    python tools/planted_faults.py cli headers     those with one of these words in their name or component

The copy is a clone in build/planted, with an environment of its own: what has not been committed is not in it. Each
command is run once without a fault, since a test that fails anyway finds nothing. What a run has printed is in
build/planted-faults, by the fault's name. docs/how-to/planted-faults.md says how to add a fault.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIST = Path(__file__).with_suffix(".toml")
COPY = ROOT / "build" / "planted"
OUTPUTS = ROOT / "build" / "planted-faults"
TEST_LIMIT_SECONDS, RUN_LIMIT_SECONDS = 180, 900
ENDS_AFTER_SECONDS = 20.0  # the time that a stopped run has to stop its own processes
FAILED_TEST = {
    "pytest": re.compile(r"^(?:FAILED|ERROR) (\S+\.py\b.*?)(?: - .*)?$", re.MULTILINE),
    "go": re.compile(r"^\s*--- FAIL: (\S+)|^FAIL\s+(\S+)", re.MULTILINE),
    "node": re.compile(r"^\s*not ok \d+ - (.+?)$", re.MULTILINE),
}
BUILD_FAILED = re.compile(r"^FAIL\s.*\[(?:build|setup) failed\]$", re.MULTILINE)
END_TO_END = re.compile(r"(test_\w+)((?:::.+)?)")


class FaultListError(Exception):
    """An entry of the list that cannot be applied: expected, got, the cure."""


@dataclass(frozen=True)
class Fault:
    """A table of the list. `find` stands exactly once in `file`; `tests` are arguments of pytest, go test or node."""

    name: str
    component: str
    file: str
    what: str
    find: str
    replace: str
    tests: tuple[str, ...]

    @property
    def words(self) -> set[str]:
        """The words that select the fault."""
        return {self.name, *self.name.split("-"), self.component, *self.component.split("/")}


@dataclass(frozen=True)
class Result:
    """found_by: the test that has failed, "" where none has. problem: why the run says nothing of the tests."""

    found_by: str = ""
    problem: str = ""


def main() -> int:
    arguments = parse_arguments()
    faults = select(read_faults(), arguments.words)
    OUTPUTS.mkdir(parents=True, exist_ok=True)
    with lock_copy():
        prepare_copy()
        begun = time.monotonic()
        missed = [fault.name for fault in faults if not try_fault(fault)]
    found_count = len(faults) - len(missed)
    print(f"planted faults: {found_count} of {len(faults)} found in {time.monotonic() - begun:.0f} s", end="")
    print(f"; not found: {', '.join(missed)}" if missed else "")
    return 1 if missed else 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", metavar="WORD", help="of names or components; without it, all")
    return parser.parse_args()


# ------------------------------------------------------------------ the list


def read_faults() -> list[Fault]:
    """All faults, in the order of the list. FaultListError: a table that is no fault."""
    tables = tomllib.loads(LIST.read_text())
    return [read_fault(name, table) for name, table in tables.items()]


def read_fault(name: str, table: dict[str, object]) -> Fault:
    expected = {field.name for field in fields(Fault)} - {"name"}
    if table.keys() != expected:
        raise FaultListError(f"{LIST.name}: {name}: expected {', '.join(sorted(expected))}, got {', '.join(table)}")
    tests = table["tests"]
    if not isinstance(tests, list) or not tests:
        raise FaultListError(f"{LIST.name}: {name}: expected tests, a list of arguments, got {tests!r}")
    texts = {key: str(value) for key, value in table.items() if key != "tests"}
    return Fault(name=name, tests=tuple(map(str, tests)), **texts)


def select(faults: list[Fault], words: list[str]) -> list[Fault]:
    """The faults with one of the words in their name or component."""
    selected = [fault for fault in faults if not words or not fault.words.isdisjoint(words)]
    if not selected:
        known = "\n  ".join(f"{fault.name} ({fault.component})" for fault in faults)
        raise SystemExit(f"planted faults: expected a word of a name or component, got {words}; there are\n  {known}")
    return selected


def faulty_text(fault: Fault, root: Path) -> str:
    """The file's text with the fault. FaultListError where it cannot be planted."""
    path = root / fault.file
    if not path.is_file():
        raise FaultListError(f"{fault.name}: expected the file {fault.file}, got none: name where the code is now")
    text = path.read_text()
    if (count := text.count(fault.find)) != 1:
        cure = "write the fault anew for the code that is there now"
        raise FaultListError(f"{fault.name}: expected `find` once in {fault.file}, got it {count} times: {cure}")
    return text.replace(fault.find, fault.replace)


def command_of(tests: tuple[str, ...], root: Path) -> list[str]:
    """The command that runs these tests up to the first that fails. FaultListError: there is no such test."""
    first = tests[0]
    if first.startswith("./"):
        if not any((root / first).glob("*_test.go")):
            raise FaultListError(f"expected a Go package with tests, got {first}: name where they are now")
        return ["go", "test", "-race", "-failfast", "-timeout", f"{TEST_LIMIT_SECONDS}s", *tests]
    if first.endswith((".js", ".mjs")):
        return ["node", "--test", "--test-reporter=tap", *(locate(test, root) for test in tests)]
    return ["pytest", "-q", "-x", "--timeout", str(TEST_LIMIT_SECONDS), *(locate(test, root) for test in tests)]


def locate(test: str, root: Path) -> str:
    """An argument of pytest or node. An end-to-end test is named by its file alone, which is found below e2e."""
    if match := END_TO_END.fullmatch(test):
        files = sorted((root / "e2e").rglob(f"{match[1]}.py"))
        if len(files) != 1:
            raise FaultListError(
                f"expected one file {match[1]}.py below e2e, got {len(files)}: name where the test is now"
            )
        return f"{files[0].relative_to(root)}{match[2]}"
    if "/" in test and not (root / test.partition("::")[0]).exists():
        raise FaultListError(f"expected a file or folder of tests, got {test}: name where they are now")
    return test


# ------------------------------------------------------------------ the copy


@contextmanager
def lock_copy() -> Iterator[None]:
    """Allows one run at a time, since there is one copy."""
    with (OUTPUTS / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SystemExit(f"planted faults: another run uses {COPY}: wait for its end") from None
        yield


def prepare_copy() -> None:
    """HEAD in build/planted, with an environment that has the copy's own packages. An earlier copy is used again."""
    print(f"planted faults: setting up HEAD in {COPY.relative_to(ROOT)} …", file=sys.stderr, flush=True)
    if not (COPY / ".git").exists():
        subprocess.run(["git", "clone", "--quiet", "--local", "--no-checkout", str(ROOT), str(COPY)], check=True)
    for arguments in (
        ["fetch", "--quiet", str(ROOT), "HEAD"],
        ["checkout", "--quiet", "--force", "--detach", "FETCH_HEAD"],
        ["clean", "--quiet", "--force", "-d"],
    ):
        subprocess.run(["git", "-C", str(COPY), *arguments], check=True)
    subprocess.run([sys.executable, "tools/setup.py"], cwd=COPY, env=environment(), check=True)


def environment() -> dict[str, str]:
    """The caller's, with the copy's programs in the place of ours."""
    ours = ("VIRTUAL_ENV", "PYTHONPATH", "MAKEFLAGS", "MAKELEVEL", "MFLAGS", "PYTEST_ADDOPTS")
    variables = {name: value for name, value in os.environ.items() if name not in ours}
    folders = [str(COPY / ".venv" / "bin"), str(COPY / ".tools" / "go"), os.environ["PATH"]]
    # Tests that would be skipped for want of a browser, a store or a compiler find nothing: they fail instead.
    required = {"BROWSER_REQUIRED": "1", "VALKEY_REQUIRED": "1", "C_COMPILER_REQUIRED": "1"}
    return {**variables, **required, "GOTOOLCHAIN": "local", "PATH": os.pathsep.join(folders)}


@contextmanager
def plant(fault: Fault, root: Path) -> Iterator[None]:
    """Puts the fault into the file, which gets its old time back: Python identifies compiled modules by it."""
    path = root / fault.file
    text, times = path.read_text(), path.stat()
    path.write_text(faulty_text(fault, root))
    try:
        yield
    finally:
        path.write_text(text)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


# ------------------------------------------------------------------ runs


def try_fault(fault: Fault) -> bool:
    """Plants the fault, runs its tests and prints a row. Whether a test has found it."""
    begun = time.monotonic()
    try:
        if failed := failure_without_fault(fault.tests):
            result = Result(problem=f"its tests do not pass without it: {failed}")
        else:
            begun = time.monotonic()
            with plant(fault, COPY):
                result = run_tests(fault.tests, fault.name)
    except FaultListError as error:
        result = Result(problem=str(error))
    seconds = time.monotonic() - begun
    outcome = result.found_by or (f"NOT TRIED: {result.problem}" if result.problem else "NOT FOUND")
    print(f"{fault.name:38} {fault.component:20} {seconds:4.0f} s  {outcome}", flush=True)
    return bool(result.found_by)


@cache
def failure_without_fault(tests: tuple[str, ...]) -> str:
    """The failures of the tests on HEAD without a fault, or ""."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", " ".join(tests)).strip("-")
    result = run_tests(tests, f"without-a-fault-{name}")
    return result.found_by or result.problem


def run_tests(tests: tuple[str, ...], name: str) -> Result:
    """Runs tests in the copy; what they print is kept under that name."""
    command = command_of(tests, COPY)
    status, output = run(command)
    (OUTPUTS / f"{name}.txt").write_text(f"{' '.join(command)}\n{output}")
    return read_result(command[0], status, output)


def run(command: list[str]) -> tuple[int | None, str]:
    """The command's status and output; None: it has not ended in time, and was stopped with all that it had started."""
    with subprocess.Popen(
        command,
        cwd=COPY,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            output = process.communicate(timeout=RUN_LIMIT_SECONDS)[0]
        except subprocess.TimeoutExpired:
            return None, stop(process)
        except BaseException:
            stop(process)
            raise
        return process.returncode, output


def stop(process: subprocess.Popen[str]) -> str:
    """Ends the command's process group; returns its output."""
    output = ""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            output = process.communicate(timeout=ENDS_AFTER_SECONDS)[0]
            break
    return output


def read_result(runner: str, status: int | None, output: str) -> Result:
    """The results of the tests in a run of pytest, go test or node."""
    if status is None:
        return Result(problem=f"no end within {RUN_LIMIT_SECONDS} s")
    if status == 0:
        return Result()
    if BUILD_FAILED.search(output) or status != 1:
        return Result(problem=f"{runner} ended with {status} before a test ran")
    failed = FAILED_TEST[runner].search(output)
    return Result(found_by=next(filter(None, failed.groups())) if failed else f"{runner}, which names no test")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except FaultListError as mistake:
        sys.exit(f"planted faults: {mistake}")
