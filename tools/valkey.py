"""The server that the store's tests ask: Valkey or Redis, found on the machine, else installed by apt.

python tools/valkey.py           prints where it is; installs it where that is possible
python tools/valkey.py --find    installs nothing
VALKEY_REQUIRED=1                it is a failure that there is none; else the tests that need one are skipped
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from browser import apt_get, privileges

NAMES = ("valkey-server", "redis-server")
PACKAGES = ("redis-server",)
"""Debian's and Ubuntu's, which speak TLS, as the tests ask of any; Valkey speaks its protocol."""
CURE = (
    "expected valkey-server or redis-server on PATH, or Debian or Ubuntu with root or sudo to install one: "
    "install it (apt install redis-server), or name its program in VALKEY_SERVER"
)


def main(arguments: list[str]) -> int:
    """Prints the path, or what to do; fails where a server is required."""
    found = find() or (None if "--find" in arguments else install())
    if found is None:
        print(f"no Valkey: {CURE}", file=sys.stderr)
        return 1 if os.environ.get("VALKEY_REQUIRED", "") not in {"", "0"} else 0
    print(found)
    return 0


def find() -> str | None:
    """The program of a server that starts on this machine."""
    named = os.environ.get("VALKEY_SERVER")
    if named and not starts(named):
        raise SystemExit(
            f"valkey: expected VALKEY_SERVER to name a server's program, got {named}, which does not start"
        )
    programs = [named] if named else [shutil.which(name) for name in NAMES]
    return next((program for program in programs if program and starts(program)), None)


def starts(program: str) -> bool:
    """Whether it says its version."""
    try:
        done = subprocess.run([program, "--version"], capture_output=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def install() -> str | None:
    """By apt, where there is one and we may; None where not, or where it has failed (it says why)."""
    rights = privileges()
    if shutil.which("apt-get") is None or rights is None:
        return None
    print("valkey: installing redis-server by apt (seconds, once) …", file=sys.stderr, flush=True)
    apt_get(rights, "update")  # and where it fails, lists that are there may do
    done = apt_get(rights, "install", "--yes", "--no-install-recommends", *PACKAGES)
    if done.returncode != 0:
        print(f"valkey: apt-get install has failed\n{done.stdout}{done.stderr}", file=sys.stderr)
        return None
    return find()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
