"""The build that most end-to-end tests share."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from e2e.kit.gateway import BUILD_SECONDS
from e2e.kit.places import MANIFEST, ROOT

EXT_PROC, IN_ENVOY = "ext-proc", "in-envoy"


def engine_in_use() -> str:
    """Where the policy engine runs of gateways that are started without --engine."""
    return os.environ.get("GATEWRIGHT_ENGINE") or EXT_PROC


def is_engine_in_envoy() -> bool:
    """Whether that is inside Envoy: it then has Envoy's pid in status.json, and a fault of one is a fault of both."""
    return engine_in_use() == IN_ENVOY


def build_output(engine: str = "") -> Path:
    """The build output of e2e/kit/build.yaml; costs nothing when nothing has changed. engine: as of `gatewright build`,
    "" for the one in use.
    """
    engine = engine or engine_in_use()
    output = ROOT / "build" / ("e2e" if engine == EXT_PROC else f"e2e-{engine}")
    command = ["gatewright", "build", "--manifest", str(MANIFEST), "--output", str(output), "--engine", engine]
    subprocess.run(command, check=True, timeout=BUILD_SECONDS)
    return output


def require_c_compiler() -> None:
    """Skips the test where there is no C compiler, with which the engine for Envoy is built; C_COMPILER_REQUIRED=1 has
    it fail.
    """
    names = (os.environ.get("CC", ""), "gcc", "clang", "cc")
    if any(shutil.which(name) for name in names if name):
        return
    reason = "expected a C compiler for the engine inside Envoy, got none on PATH: install gcc"
    if os.environ.get("C_COMPILER_REQUIRED") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
