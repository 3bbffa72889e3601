"""Runs actionlint over .github/workflows, with shellcheck for the commands in them."""

from __future__ import annotations

import subprocess

from go_tool import ACTIONLINT, ROOT


def main() -> None:
    raise SystemExit(subprocess.run([ACTIONLINT.binary(), "-no-color"], cwd=ROOT, check=False).returncode)


if __name__ == "__main__":
    main()
