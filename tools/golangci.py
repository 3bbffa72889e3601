"""Runs golangci-lint over the Go modules named; builds it once, from the Go module proxy, into .tools/go."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MODULE, VERSION = "github.com/golangci/golangci-lint/v2", "v2.15.0"
BINARY = ROOT / ".tools" / "go" / f"golangci-lint-{VERSION}"


def main() -> None:
    if not BINARY.exists():
        print("golangci: building golangci-lint (minutes, once) …", file=sys.stderr, flush=True)
        build()
    modules = [f"./{module}/..." for module in sys.argv[1:]]
    raise SystemExit(subprocess.run([BINARY, "run", *modules], cwd=ROOT, check=False).returncode)


def build() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        for command in (
            ("mod", "init", "scratch"),
            ("get", f"{MODULE}/cmd/golangci-lint@{VERSION}"),
            ("build", "-trimpath", "-o", str(BINARY), f"{MODULE}/cmd/golangci-lint"),
        ):
            done = subprocess.run(["go", *command], cwd=scratch, check=False, capture_output=True, text=True)
            if done.returncode != 0:
                raise SystemExit(f"golangci: failed: go {' '.join(command)}\n{done.stderr}")


if __name__ == "__main__":
    main()
