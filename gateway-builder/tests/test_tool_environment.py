"""The environment of each program that a build starts."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from gatewright_builder.tool_environment import Environment, for_builder, for_go, for_imports, for_python, for_uv


@pytest.mark.parametrize(
    "environment_of", [for_uv, for_go, for_python, for_builder, lambda environment: for_imports("/t", environment)]
)
def test_a_python_that_needs_libraries_of_its_own_starts(
    environment_of: Callable[[Environment], dict[str, str]],
) -> None:
    loader = {"LD_LIBRARY_PATH": "/opt/python/lib", "LD_PRELOAD": "/opt/lib.so", "GLIBC_TUNABLES": "a=1"}
    found = environment_of({**loader, "GITHUB_ACTIONS": "true"})
    assert found.items() >= loader.items()
    assert "GITHUB_ACTIONS" not in found
