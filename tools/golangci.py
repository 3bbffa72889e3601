"""Runs golangci-lint over the Go modules named."""

from __future__ import annotations

import subprocess
import sys

from go_tool import GOLANGCI_LINT, ROOT


def main() -> None:
    modules = [f"./{module}/..." for module in sys.argv[1:]]
    raise SystemExit(subprocess.run([GOLANGCI_LINT.binary(), "run", *modules], cwd=ROOT, check=False).returncode)


if __name__ == "__main__":
    main()
