"""What is said of an import that never ends: the one case that a whole build would be too slow for."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from gatewright_builder.imports import check_imports
from gatewright_builder.mistake import BuildError
from gatewright_builder.policy import Policy
from gatewright_builder.tree import below, write_tree

DEFINITION = b"name: sample\nversion: v1.0.0\nruntime: python\nprocessingMode:\n  requestHeaderMode: PROCESS\n"


@pytest.mark.timeout(60)
def test_an_import_that_never_ends_is_cut_and_named(tmp_path: Path, discovered: Callable[[Path], Policy]) -> None:
    sources = {"policy-definition.yaml": DEFINITION, "policy.py": b"import threading\nthreading.Event().wait()\n"}
    write_tree(sources, tmp_path / "sample")
    policy = discovered(tmp_path / "sample")
    executor = {"gatewright_executor/__init__.py": b"", "gatewright_executor/main.py": b""}
    write_tree(executor | below("policies/sample_v1_0_0", policy.sources), tmp_path / "executor")
    with pytest.raises(BuildError) as caught:
        check_imports(Path(sys.executable), tmp_path / "executor", (policy,), limit=2.0)
    assert str(caught.value).startswith(
        "sample/policy.py: expected a module that can be imported, got the import ended the process: no end after 2 s;"
    )
