"""The files that a process with Python policies reads, whatever the policies are."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from gatewright_cli.builds.build_output import BuildOutput, Group

PROGRAMS = (
    "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/usr/bin", "/usr/sbin", "/usr/lib", "/usr/lib32", "/usr/lib64",
    "/usr/libexec", "/usr/share", "/usr/local/bin", "/usr/local/lib", "/usr/local/lib64", "/usr/local/share",
    "/nix/store", "/gnu/store", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/ld.so.preload",
)  # fmt: skip
"""What packages install: shared libraries, programs for subprocesses, time zones, certificate authorities."""
NETWORK = (
    "/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/host.conf", "/etc/gai.conf", "/etc/services",
    "/etc/protocols", "/etc/networks", "/etc/ssl/certs", "/etc/ssl/cert.pem", "/etc/ssl/openssl.cnf",
    "/etc/pki/tls/certs", "/etc/pki/tls/cert.pem", "/etc/pki/tls/openssl.cnf", "/etc/pki/ca-trust/extracted",
    "/etc/ca-certificates/extracted", "/etc/crypto-policies",
)  # fmt: skip
"""Of /etc/ssl and /etc/pki not all: private keys lie there too."""
NAMES = (
    "/etc/passwd", "/etc/group", "/etc/localtime", "/etc/timezone", "/etc/mime.types", "/etc/os-release",
    "/etc/locale.alias",
)  # fmt: skip
"""Who is who, which getpwuid(3) and expanduser ask, and what time it is."""
MACHINE = (
    "/proc/self", "/proc/meminfo", "/proc/cpuinfo", "/proc/stat", "/proc/loadavg", "/proc/sys", "/sys/fs/cgroup",
    "/sys/devices/system/cpu", "/sys/devices/system/node", "/sys/kernel/mm/transparent_hugepage",
)  # fmt: skip
"""Itself, and no other process; how much memory and how many processors there are."""
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
"""They may be written to as well."""
POLICIES = "policies"
VARIABLES = (
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "OPENSSL_CONF"),
    *("TZDIR", "HOSTALIASES", "LD_LIBRARY_PATH", "LD_PRELOAD"),
)
"""Those that an executor inherits (environment.py) and that name files to read."""
SEPARATORS = re.compile("[: ]")
"""Of paths in one variable; LD_PRELOAD may have blanks (ld.so(8))."""
REPLACED_BY_ITS_OWNER = ("/etc/resolv.conf",)
"""Where this is a link, its folder is opened: the file is made anew with each network that comes, and a rule would be
of the one that was. Not /etc or /run: what else is there is others'."""


def readable(build: BuildOutput, group: Group, environment: Mapping[str, str]) -> tuple[str, ...]:
    """Paths, each with all that is below it; some may not be there."""
    return (
        *needed(build, group),
        *PROGRAMS,
        *NETWORK,
        *replaced_in(REPLACED_BY_ITS_OWNER),
        *NAMES,
        *MACHINE,
        *_named(environment),
    )


def replaced_in(paths: Iterable[str]) -> Iterator[str]:
    """The folders in which files that these link to are made anew."""
    for path in paths:
        folder = os.path.dirname(os.path.realpath(path))  # noqa: PTH120 - as a text, like the others
        if Path(path).is_symlink() and folder.count("/") > 1:
            yield folder


def _named(environment: Mapping[str, str]) -> Iterator[str]:
    """A variable may name several, as PATH does. What is no path at all is a name that is looked for elsewhere."""
    for name in VARIABLES:
        separators = SEPARATORS if name == "LD_PRELOAD" else os.pathsep
        for path in re.split(separators, environment.get(name, "")):
            if path and (name != "LD_PRELOAD" or "/" in path):
                yield str(Path(path).absolute())


def needed(build: BuildOutput, group: Group) -> tuple[str, ...]:
    """Those without which it does not start: its environment, the interpreter behind that, the executor, policies."""
    return (str(group.python.parents[1]), *_interpreter(group.python), *_code(build, group), str(group.registry))


def _code(build: BuildOutput, group: Group) -> Iterator[str]:
    """The executor and the group's policies, and nothing that is another group's."""
    others = [one for one in build.groups if one.name != group.name]
    foreign = {one.registry.name for one in others} | {folder for one in others for folder in one.policies}
    entries = [path for path in _in(build.executor) if path.name != POLICIES] + _in(build.executor / POLICIES)
    return (str(path) for path in entries if path.name not in foreign)


def _in(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _interpreter(python: Path) -> Iterator[str]:
    """An environment's python3 is a link; its standard library is beside what that leads to."""
    program = Path(os.path.realpath(python))
    yield str(program)
    for library in ("lib", "lib64"):
        if (folder := program.parents[1] / library).is_dir():
            yield str(folder)
