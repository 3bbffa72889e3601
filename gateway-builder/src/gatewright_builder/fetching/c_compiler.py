"""The C compiler of this machine, by which Go compiles the engine as a library that Envoy loads."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from functools import lru_cache

from gatewright_documents.mistake import Mistake

from gatewright_builder.mistake import BuildError
from gatewright_builder.tool_environment import for_go

VARIABLE = "CC"
NAMES = ("gcc", "clang", "cc")
FIXED = {"CGO_ENABLED": "1", "CGO_CFLAGS": "-O2", "CGO_CPPFLAGS": "", "CGO_LDFLAGS": ""}
"""What Go gives the C compiler: nothing that the operator's environment asks for."""


def find_c_compiler(environment: Mapping[str, str] = os.environ) -> str | None:
    """The program that CC names, with its options, or the first of gcc, clang and cc on PATH."""
    chosen = environment.get(VARIABLE)
    if chosen:
        return chosen if shutil.which(shlex.split(chosen)[0]) else None
    return next(filter(None, map(shutil.which, NAMES)), None)


def with_c_compiler() -> dict[str, str]:
    """Go's settings for a compilation with C. Raises BuildError where there is no C compiler."""
    return FIXED | {VARIABLE: _program()}


def c_toolchain() -> str:
    """What decides, beside the sources and Go, which bytes come out."""
    return _version(_program())


def _program() -> str:
    program = find_c_compiler()
    if program is None:
        expected = "a C compiler, which the engine inside Envoy is compiled with"
        got = f"{VARIABLE}={os.environ[VARIABLE]}, which is not there" if os.environ.get(VARIABLE) else "none on PATH"
        cure = "install gcc or clang (Debian: apt install gcc libc6-dev), or run with --engine ext-proc"
        raise BuildError([Mistake.in_file("cc", expected, got, cure)])
    return program


@lru_cache(maxsize=4)
def _version(program: str) -> str:
    command = [*shlex.split(program), "--version"]
    done = subprocess.run(command, env=for_go(), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        got = " ".join(done.stderr.split()) or f"exit status {done.returncode}"
        raise BuildError([Mistake.in_file(program, "a C compiler that says its version", got, "install gcc or clang")])
    return done.stdout.partition("\n")[0]
