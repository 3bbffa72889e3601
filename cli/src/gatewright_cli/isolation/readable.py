"""The files that every process with Python policies may read."""

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
"""Only parts of /etc/ssl and /etc/pki: private keys lie there too."""
NAMES = (
    "/etc/passwd", "/etc/group", "/etc/localtime", "/etc/timezone", "/etc/mime.types", "/etc/os-release",
    "/etc/locale.alias",
)  # fmt: skip
"""Users and groups, which getpwuid(3) and expanduser read, time zone, types, locales."""
MACHINE = (
    "/proc/self", "/proc/meminfo", "/proc/cpuinfo", "/proc/stat", "/proc/loadavg", "/proc/sys", "/sys/fs/cgroup",
    "/sys/devices/system/cpu", "/sys/devices/system/node", "/sys/kernel/mm/transparent_hugepage",
)  # fmt: skip
"""The process itself, and no other one; memory and processors of the machine."""
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
"""Devices that a process may write to as well."""
POLICIES = "policies"
VARIABLES = (
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "OPENSSL_CONF"),
    *("TZDIR", "HOSTALIASES", "LD_LIBRARY_PATH", "LD_PRELOAD"),
)
"""Variables that an executor inherits (environment.py) and that name files to read."""
SEPARATORS = re.compile("[: ]")
"""Between paths in a variable; LD_PRELOAD may have blanks (ld.so(8))."""
REPLACED_BY_ITS_OWNER = ("/etc/resolv.conf",)
"""If this is a link, the folder of its target is readable: a network manager replaces the file with each new network,
and a rule for a file applies to the old one alone. Not /etc or /run, which hold files of other programs."""


def readable(build: BuildOutput, group: Group, environment: Mapping[str, str]) -> tuple[str, ...]:
    """Readable paths, each with everything below it; some may not exist."""
    return (
        *required_paths(build, group),
        *PROGRAMS,
        *NETWORK,
        *replaced_in(REPLACED_BY_ITS_OWNER),
        *NAMES,
        *MACHINE,
        *_paths_in_variables(environment),
    )


def replaced_in(paths: Iterable[str]) -> Iterator[str]:
    """The folders of the files that these paths link to."""
    for path in paths:
        folder = os.path.dirname(os.path.realpath(path))  # noqa: PTH120 - as a text, like the others
        if Path(path).is_symlink() and folder.count("/") > 1:
            yield folder


def _paths_in_variables(environment: Mapping[str, str]) -> Iterator[str]:
    """The paths in variables. A variable may name several, as PATH does. Names without a slash in LD_PRELOAD are
    libraries that the loader finds elsewhere.
    """
    for name in VARIABLES:
        separators = SEPARATORS if name == "LD_PRELOAD" else os.pathsep
        for path in re.split(separators, environment.get(name, "")):
            if path and (name != "LD_PRELOAD" or "/" in path):
                yield str(Path(path).absolute())


def required_paths(build: BuildOutput, group: Group) -> tuple[str, ...]:
    """The paths that a process needs to start: its environment and interpreter, the executor, the policies."""
    return (str(group.python.parents[1]), *_interpreter(group.python), *_code(build, group), str(group.registry))


def _code(build: BuildOutput, group: Group) -> Iterator[str]:
    """The executor and the group's policies, and nothing of another group."""
    others = [other for other in build.groups if other.name != group.name]
    foreign = {other.registry.name for other in others} | {folder for other in others for folder in other.policies}
    entries = [path for path in _in(build.executor) if path.name != POLICIES] + _in(build.executor / POLICIES)
    return (str(path) for path in entries if path.name not in foreign)


def _in(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _interpreter(python: Path) -> Iterator[str]:
    """The interpreter that an environment's python3 links to, and its standard library beside it."""
    program = Path(os.path.realpath(python))
    yield str(program)
    for library in ("lib", "lib64"):
        if (folder := program.parents[1] / library).is_dir():
            yield str(folder)
