"""Looks for input that breaks a parser: `make fuzz`, each target for a minute (ARGS="--minutes 10", ARGS="FuzzDecode").

A target is a `func Fuzz…` in Go, or a test in a `test_fuzz.py` whose input hypothesis draws. They are tests like all
others, too: there Go takes seeds and what was found before, and hypothesis draws a hundred inputs. What is found stays:

    Go        as a file in testdata/fuzz, to be committed with the cure, and a test from then on
    Python    in .hypothesis until it is cured; build/fuzz has the input, to be written above the test as @example(…)
"""

from __future__ import annotations

import argparse
import os
import random
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent
FAILURES = ROOT / "build" / "fuzz"
TIME_IS_OVER = re.compile(r"^--- FAIL: \w+ \([0-9.]+s\)\n    context deadline exceeded\nFAIL$", re.MULTILINE)
FIRST_ROUND, ROUND_SECONDS = 200, 60  # of a Python target, which has a seed for each round: inputs, then about how long
DRAWS = "GATEWRIGHT_FUZZ_DRAWS"
ROUND_LIMIT_SECONDS = 600  # for a round, which no input should ever need
FILES = ("*_test.go", "*/test_fuzz.py")
FOUND = {".go": re.compile(r"^func (Fuzz\w+)\(", re.MULTILINE), ".py": re.compile(r"^def (test_\w+)\(", re.MULTILINE)}


@dataclass(frozen=True)
class Target:
    file: Path
    function: str

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
    wanted = [target for target in targets if any(word in target.name for word in arguments.targets or [""])]
    if not wanted:
        known = "\n  ".join(target.name for target in targets)
        print(f"expected a part of a target's name, got {arguments.targets}; there are\n  {known}", file=sys.stderr)
        return 2
    seconds = arguments.seconds or arguments.minutes * 60
    broken = [target.name for target in wanted if not _try(target, seconds)]
    print(f"fuzz: {len(wanted)} targets, broken: {', '.join(broken) or 'none'}")
    return 1 if broken else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="a part of names; without it, all")
    parser.add_argument("--minutes", type=float, default=1, help="for each target (default: 1)")
    parser.add_argument("--seconds", type=float, help="in place of --minutes")
    return parser.parse_args()


def find() -> list[Target]:
    """All targets of this repository."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *FILES]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    files = [ROOT / name for name in sorted(names) if (ROOT / name).exists()]
    return [Target(file, function) for file in files for function in FOUND[file.suffix].findall(file.read_text())]


def _try(target: Target, seconds: float) -> bool:
    """Prints what came of it, and keeps what has broken it. Whether nothing has."""
    begun = time.monotonic()
    run = _go(target, seconds) if target.file.suffix == ".go" else _python(target, seconds)
    print(f"{target.name}: {run.inputs:,} inputs in {time.monotonic() - begun:.0f} s", flush=True)
    if run.failure:
        FAILURES.mkdir(parents=True, exist_ok=True)
        kept = FAILURES / f"{target.name.replace('/', '-')}.txt"
        kept.write_text(run.failure)
        print(f"{run.failure}\n{target.name}: broken; this is {kept.relative_to(ROOT)}", flush=True)
    return not run.failure


# ------------------------------------------------------------------ Go


def _go(target: Target, seconds: float) -> Run:
    """Inputs that reach new code stay in Go's build cache. They are hardly made shorter, which takes minutes each."""
    fuzz = ["-run", "^$", "-fuzz", f"^{target.function}$", "-fuzztime", f"{seconds}s", "-fuzzminimizetime", "20x"]
    done = subprocess.run(
        ["go", "test", ".", *fuzz], cwd=target.file.parent, check=False, capture_output=True, text=True
    )
    counts = re.findall(r"execs: (\d+)", done.stdout)
    said = done.stdout + done.stderr
    return Run(int(counts[-1]) if counts else 0, said if done.returncode and not ended_by_time(said) else "")


def ended_by_time(said: str) -> bool:
    """Whether all that has failed is that the time was over while an input was tried: Go calls that a failure at times.

    An input that breaks the target is written to a file, and Go says to which.
    """
    return TIME_IS_OVER.search(said) is not None and "Failing input" not in said and "panic" not in said


# ------------------------------------------------------------------ Python


def _python(target: Target, seconds: float) -> Run:
    """Rounds in processes of their own, the first one short: it says how many inputs a round has time for."""
    until = time.monotonic() + seconds
    inputs, draws = 0, FIRST_ROUND
    while (left := until - time.monotonic()) > 0:
        begun, seed = time.monotonic(), random.getrandbits(32)
        done = _round(target, draws, seed)
        inputs += sum(map(int, re.findall(r"(\d+) passing", done.stdout)))
        if done.returncode:
            return Run(inputs, f"seed {seed}\n{done.stdout}{done.stderr}")
        a_second = draws / (time.monotonic() - begun)
        draws = max(FIRST_ROUND, int(min(left, ROUND_SECONDS) * a_second))
    return Run(inputs)


def _round(target: Target, draws: int, seed: int) -> subprocess.CompletedProcess[str]:
    options = ["-q", "-p", "tools.fuzz", "--hypothesis-show-statistics", f"--hypothesis-seed={seed}"]
    test = f"{target.file}::{target.function}"
    command = [sys.executable, "-m", "pytest", *options, "--timeout", str(ROUND_LIMIT_SECONDS), test]
    paths = filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])
    environment = {**os.environ, DRAWS: str(draws), "PYTHONPATH": os.pathsep.join(paths)}
    return subprocess.run(command, cwd=ROOT, env=environment, check=False, capture_output=True, text=True)


def pytest_configure() -> None:
    """As pytest's plugin in such a round."""
    unchecked = list(HealthCheck)  # how long a draw takes
    settings.register_profile(
        "fuzz", max_examples=int(os.environ[DRAWS]), deadline=None, suppress_health_check=unchecked
    )
    settings.load_profile("fuzz")


if __name__ == "__main__":
    sys.exit(main())
