from __future__ import annotations

import textwrap
from pathlib import Path
from types import ModuleType

import pytest
from gatewright import testing

from .recordings import BOTH, Write


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a policy `tag` and loads it."""

    def write(source: str, mode: str = BOTH, version: str = "v1.0.0") -> ModuleType:
        (tmp_path / "policy.py").write_text("from sdk.policy import *\n" + textwrap.dedent(source))
        text = f"name: tag\nversion: {version}\nruntime: python\nprocessingMode: {mode}\n"
        (tmp_path / "policy-definition.yaml").write_text(text)
        return testing.load_policy(str(tmp_path / "policy.py"))

    return write
