"""A program that tests need and no package registry has: found on the machine, else installed by apt."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass

LOCKED = ("Could not get lock", "Unable to lock", "is another process using it")
SECONDS = 300.0
"""How long another apt may hold its lock."""


@dataclass(frozen=True)
class MachineProgram:
    """names: on PATH, the best one first. variable: names the program instead. required: the variable that makes it a
    failure that there is none. version: what its `--version` says. packages: apt's; systems: whose package is the
    program, by the ID in os-release, all where there is none. cure: how to get one.
    """

    name: str
    names: tuple[str, ...]
    variable: str
    required: str
    version: str
    packages: tuple[str, ...]
    cure: str
    systems: tuple[str, ...] = ()

    def main(self, arguments: list[str]) -> int:
        """Prints the path, or what to do; fails where the program is required."""
        path = self.find() or (None if "--find" in arguments else self.install())
        if path is None:
            print(f"no {self.name}: {self.cure}, or name its program in {self.variable}", file=sys.stderr)
            return 1 if os.environ.get(self.required, "") not in {"", "0"} else 0
        print(path)
        return 0

    def find(self) -> str | None:
        """The first that starts on this machine."""
        path_named = os.environ.get(self.variable)
        if path_named and not self.starts(path_named):
            raise SystemExit(f"{self.name}: expected {self.variable} to name a program that starts, got {path_named}")
        programs = [path_named] if path_named else [shutil.which(name) for name in self.names]
        return next((program for program in programs if program and self.starts(program)), None)

    def starts(self, program: str) -> bool:
        """Ubuntu's chromium-browser, for one, is a script that may only say how to install it."""
        try:
            result = subprocess.run([program, "--version"], capture_output=True, text=True, check=False, timeout=60)
        except (OSError, subprocess.TimeoutExpired):
            return False
        return result.returncode == 0 and self.version in result.stdout

    def install(self) -> str | None:
        """By apt, where there is one and we may; None where not, or where it has failed (it says why)."""
        rights = privileges()
        if shutil.which("apt-get") is None or rights is None or not self._has_package():
            return None
        print(f"{self.name}: installing {self.packages[0]} by apt (a minute, once) …", file=sys.stderr, flush=True)
        apt_get(rights, "update")  # and where it fails, lists that are there may do
        result = apt_get(rights, "install", "--yes", "--no-install-recommends", *self.packages)
        if result.returncode != 0:
            print(f"{self.name}: apt-get install has failed\n{result.stdout}{result.stderr}", file=sys.stderr)
            return None
        return self.find()

    def _has_package(self) -> bool:
        try:
            return not self.systems or platform.freedesktop_os_release().get("ID") in self.systems
        except OSError:
            return False


def privileges() -> tuple[str, ...] | None:
    """The words before a command to run it as root; None if that would need a password."""
    if os.geteuid() == 0:
        return ()
    sudo = shutil.which("sudo")
    if sudo is None or subprocess.run([sudo, "-n", "true"], capture_output=True, check=False).returncode != 0:
        return None
    return (sudo, "-n")


def apt_get(rights: tuple[str, ...], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs apt-get without a prompt, again after failures of the registry, and after another apt that holds a lock."""
    settings = ("Acquire::Retries=3", f"DPkg::Lock::Timeout={SECONDS:.0f}", "Dpkg::Options::=--force-confold")
    options = [word for setting in settings for word in ("-o", setting)]
    command = [*rights, "env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C", "apt-get", "-q", *options, *arguments]
    end = time.monotonic() + SECONDS
    while True:
        result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        is_locked = any(word in result.stderr for word in LOCKED)  # of its lists, for which apt does not wait by itself
        if result.returncode == 0 or not is_locked or time.monotonic() > end:
            return result
        time.sleep(2)
