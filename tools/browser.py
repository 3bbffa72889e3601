"""The browser that the Inspector's pages are tested in: Chromium or Chrome, found on the machine, else Debian's.

    python tools/browser.py           prints where it is; installs it where that is possible
    python tools/browser.py --find    installs nothing
    BROWSER_REQUIRED=1                it is a failure that there is none; else the tests that need one are skipped

Playwright's own builds are not used: they come from no package registry.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import time

NAMES = ("chromium", "google-chrome", "google-chrome-stable", "chrome", "chromium-browser")
PACKAGES = ("chromium", "fonts-dejavu-core")
"""Debian's; a browser without fonts draws no text."""
CURE = (
    "expected Chromium or Chrome on PATH, or Debian with root or sudo to install it: "
    "install one (Debian: apt install chromium fonts-dejavu-core), or name its program in CHROMIUM"
)
LOCKED = ("Could not get lock", "Unable to lock", "is another process using it")
SECONDS = 300.0
"""How long another apt may hold its lock."""


def main(arguments: list[str]) -> int:
    """Prints the path, or what to do; fails where a browser is required."""
    found = find() or (None if "--find" in arguments else install())
    if found is None:
        print(f"no browser: {CURE}", file=sys.stderr)
        return 1 if required() else 0
    print(found)
    return 0


def required() -> bool:
    """Whether tests of pages fail where they cannot run, as in CI, or are skipped."""
    return os.environ.get("BROWSER_REQUIRED", "") not in {"", "0"}


def find() -> str | None:
    """The program of a browser that starts on this machine."""
    named = os.environ.get("CHROMIUM")
    if named and not starts(named):
        raise SystemExit(f"browser: expected CHROMIUM to name a browser's program, got {named}, which does not start")
    programs = [named] if named else [shutil.which(name) for name in NAMES]
    return next((program for program in programs if program and starts(program)), None)


def starts(program: str) -> bool:
    """Ubuntu's chromium-browser, for one, is a script that may only say how to install it."""
    try:
        done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and "Chrom" in done.stdout


def install() -> str | None:
    """By apt, where this is Debian and we may; None where not, or where it has failed (it says why)."""
    rights = privileges()
    if not is_debian() or rights is None:
        return None
    print("browser: installing Debian's chromium (a minute, once) …", file=sys.stderr, flush=True)
    apt_get(rights, "update")  # and where it fails, lists that are there may do
    done = apt_get(rights, "install", "--yes", "--no-install-recommends", *PACKAGES)
    if done.returncode != 0:
        print(f"browser: apt-get install has failed\n{done.stdout}{done.stderr}", file=sys.stderr)
        return None
    return find()


def is_debian() -> bool:
    """Debian itself: Ubuntu's package of this name installs a snap."""
    try:
        return shutil.which("apt-get") is not None and platform.freedesktop_os_release().get("ID") == "debian"
    except OSError:
        return False


def privileges() -> tuple[str, ...] | None:
    """What stands before a command that root runs; None where that would ask for a password."""
    if os.geteuid() == 0:
        return ()
    sudo = shutil.which("sudo")
    if sudo is None or subprocess.run([sudo, "-n", "true"], capture_output=True, check=False).returncode != 0:
        return None
    return (sudo, "-n")


def apt_get(rights: tuple[str, ...], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Without a prompt, again where the registry stumbles, and after another apt that holds a lock."""
    settings = ("Acquire::Retries=3", f"DPkg::Lock::Timeout={SECONDS:.0f}", "Dpkg::Options::=--force-confold")
    options = [word for setting in settings for word in ("-o", setting)]
    command = [*rights, "env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C", "apt-get", "-q", *options, *arguments]
    end = time.monotonic() + SECONDS
    while True:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        held = any(word in done.stderr for word in LOCKED)  # of its lists, for which apt does not wait by itself
        if done.returncode == 0 or not held or time.monotonic() > end:
            return done
        time.sleep(2)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
