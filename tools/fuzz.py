"""Looks for input that breaks a test: `make fuzz`, each target for a minute (ARGS="--minutes 10", ARGS="FuzzDecode").

A target is a `func Fuzz…` in Go, a test in Go whose input rapid draws (`property.Check`), or a test in Python whose
input hypothesis draws: one in a `test_fuzz.py`, which is about a parser, for all of the time, each other one for a
tenth of it. They are tests like all others, too: there Go takes seeds and what was found before, and rapid and
hypothesis draw the same inputs each time. What is found stays:

    Go        as a file in testdata/fuzz or testdata/rapid, to be committed with the cure, and a test from then on
    Python    in build/fuzz, with its seed; until it is cured, `make fuzz` tries it first. With the cure, it is written
              above the test as @example(…), or as a case with a name where that says more
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis.database import DirectoryBasedExampleDatabase

ROOT = Path(__file__).resolve().parent.parent
FAILURES = ROOT / "build" / "fuzz"
RAPID_PASSED = re.compile(r"\[rapid\] OK, passed (\d+) tests")
HYPOTHESIS_PASSED = re.compile(r"(\d+) passing")
TIME_IS_OVER = re.compile(r"^--- FAIL: \w+ \([0-9.]+s\)\n    context deadline exceeded\nFAIL$", re.MULTILINE)
FIRST_ROUND, ROUND_SECONDS = 200, 60  # of drawn input, with a seed for each round: inputs, then the approximate seconds
DRAWS = "GATEWRIGHT_FUZZ_DRAWS"
ROUND_LIMIT_SECONDS = 600  # for a round, which no input should ever need
FILES = ("*_test.go", "test_*.py", "*/test_*.py")
OF_PARSERS = "test_fuzz.py"
PROPERTY_SHARE = 0.1  # of the time
GO_FUNCTION = re.compile(r"^func ((?:Fuzz|Test)\w+)\((.*?)^}", re.MULTILINE | re.DOTALL)
STATE_MACHINE = re.compile(r"^(Test\w+) = \w+\.TestCase$", re.MULTILINE)
BY_THEMSELVES = "e2e"  # these need a browser, and a gateway that runs
TO_DO = {
    ".go": "Fix it, and commit the file in testdata/fuzz or testdata/rapid with the cure.",
    ".py": "Fix it, and write the input above the test as @example(…), or as a case with a name: without it, "
    "`make test` does not draw this input.",
}


@dataclass(frozen=True)
class Target:
    file: Path
    function: str

    @property
    def share(self) -> float:
        """The share of the time that a target gets."""
        return 1.0 if self.file.suffix == ".go" or self.file.name == OF_PARSERS else PROPERTY_SHARE

    @property
    def name(self) -> str:
        folders = self.file.relative_to(ROOT).parts[:-1]
        room = folders[folders.index("tests") - 1] if "tests" in folders else folders[-1]
        return f"{room}/{self.function.removeprefix('test_')}"


@dataclass(frozen=True)
class Run:
    """Inputs that were tried; the output, where one has broken the target."""

    inputs: int
    failure: str = ""


def main() -> int:
    arguments = _arguments()
    targets = find()
    chosen = [target for target in targets if any(word in target.name for word in arguments.targets or [""])]
    if not chosen:
        known = "\n  ".join(target.name for target in targets)
        print(f"expected a part of a target's name, got {arguments.targets}; there are\n  {known}", file=sys.stderr)
        return 2
    seconds = arguments.seconds or arguments.minutes * 60
    broken = [target.name for target in chosen if not _try(target, seconds * target.share)]
    print(f"fuzz: {len(chosen)} targets, broken: {', '.join(broken) or 'none'}")
    return 1 if broken else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="a part of names; without it, all")
    parser.add_argument("--minutes", type=float, default=1, help="for each target (default: 1; most tests: a tenth)")
    parser.add_argument("--seconds", type=float, help="in place of --minutes")
    return parser.parse_args()


def find() -> list[Target]:
    """All targets of this repository."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *FILES]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    files = [ROOT / name for name in sorted(names) if (ROOT / name).exists()]
    return [Target(file, function) for file in files for function in functions_in(file, file.read_text())]


def functions_in(file: Path, text: str) -> list[str]:
    """The tests of a file that are targets."""
    if file.suffix == ".go":
        names = GO_FUNCTION.findall(text)
        return [name for name, body in names if not name.startswith("Test") or "property.Check(" in body]
    if "hypothesis" not in text or file.relative_to(ROOT).parts[0] == BY_THEMSELVES:
        return []
    functions = [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]
    drawn = [function.name for function in functions if any(map(_is_given, function.decorator_list))]
    return [name for name in drawn if name.startswith("test_")] + STATE_MACHINE.findall(text)


def _is_given(decorator: ast.expr) -> bool:
    return isinstance(decorator, ast.Call) and isinstance(decorator.func, ast.Name) and decorator.func.id == "given"


def _try(target: Target, seconds: float) -> bool:
    """Prints what came of it, and keeps what has broken it. Whether nothing has."""
    begun = time.monotonic()
    run = _fuzz(target, seconds) if target.function.startswith("Fuzz") else _draw(target, seconds)
    print(f"{target.name}: {run.inputs:,} inputs in {time.monotonic() - begun:.0f} s", flush=True)
    if run.failure:
        FAILURES.mkdir(parents=True, exist_ok=True)
        failure_file = FAILURES / f"{target.name.replace('/', '-')}.txt"
        failure_file.write_text(run.failure)
        print(f"{run.failure}\n{target.name}: broken; this is {failure_file.relative_to(ROOT)}", flush=True)
        print(f"{target.name}: {TO_DO[target.file.suffix]}", flush=True)
    return not run.failure


# ------------------------------------------------------------------ guided by what code an input reaches


def _fuzz(target: Target, seconds: float) -> Run:
    """Inputs that reach new code stay in Go's build cache. They are hardly made shorter, which takes minutes each."""
    fuzz = ["-run", "^$", "-fuzz", f"^{target.function}$", "-fuzztime", f"{seconds}s", "-fuzzminimizetime", "20x"]
    result = subprocess.run(
        ["go", "test", ".", *fuzz], cwd=target.file.parent, check=False, capture_output=True, text=True
    )
    counts = re.findall(r"execs: (\d+)", result.stdout)
    output = result.stdout + result.stderr
    return Run(int(counts[-1]) if counts else 0, output if result.returncode and not ended_by_time(output) else "")


def ended_by_time(output: str) -> bool:
    """Whether all that has failed is that the time was over while an input was tried: Go calls that a failure at times.

    An input that breaks the target is written to a file, and Go says to which.
    """
    return TIME_IS_OVER.search(output) is not None and "Failing input" not in output and "panic" not in output


# ------------------------------------------------------------------ drawn by rapid or hypothesis


def _draw(target: Target, seconds: float) -> Run:
    """Rounds in processes of their own, the first one short: it says how many inputs a round has time for."""
    until = time.monotonic() + seconds
    inputs, draws = 0, FIRST_ROUND
    play, passing = (_rapid, RAPID_PASSED) if target.file.suffix == ".go" else (_hypothesis, HYPOTHESIS_PASSED)
    while (left := until - time.monotonic()) > 0:
        begun, seed = time.monotonic(), random.getrandbits(32) + 1  # rapid takes 0 for none
        result = play(target, draws, seed)
        inputs += sum(map(int, passing.findall(result.stdout)))
        if result.returncode:
            return Run(inputs, f"seed {seed}\n{result.stdout}{result.stderr}")
        a_second = draws / (time.monotonic() - begun)
        draws = max(FIRST_ROUND, int(min(left, ROUND_SECONDS) * a_second))
    return Run(inputs)


def _rapid(target: Target, draws: int, seed: int) -> subprocess.CompletedProcess[str]:
    options = ["-v", "-count=1", f"-timeout={ROUND_LIMIT_SECONDS}s", f"-rapid.checks={draws}", f"-rapid.seed={seed}"]
    command = ["go", "test", ".", "-run", f"^{target.function}$", *options]
    return subprocess.run(command, cwd=target.file.parent, check=False, capture_output=True, text=True)


def _hypothesis(target: Target, draws: int, seed: int) -> subprocess.CompletedProcess[str]:
    options = ["-q", "-p", "tools.fuzz", "--hypothesis-show-statistics", f"--hypothesis-seed={seed}"]
    test = f"{target.file}::{target.function}"
    command = [sys.executable, "-m", "pytest", *options, "--timeout", str(ROUND_LIMIT_SECONDS), test]
    paths = filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])
    environment = {**os.environ, DRAWS: str(draws), "PYTHONPATH": os.pathsep.join(paths)}
    return subprocess.run(command, cwd=ROOT, env=environment, check=False, capture_output=True, text=True)


def pytest_configure() -> None:
    """As pytest's plugin in such a round: in the place of the profile of conftest.py."""
    settings.register_profile(
        "fuzz",
        settings.get_profile("default"),
        max_examples=int(os.environ[DRAWS]),
        derandomize=False,  # or the seed would have no effect
        database=DirectoryBasedExampleDatabase(FAILURES / "examples"),
        deadline=None,
        suppress_health_check=list(HealthCheck),  # how long a draw takes
        print_blob=True,
    )
    settings.load_profile("fuzz")


if __name__ == "__main__":
    sys.exit(main())
