"""The build that most end-to-end tests share."""

from __future__ import annotations

import subprocess
from pathlib import Path

from e2e.kit.gateway import BUILD_SECONDS
from e2e.kit.places import MANIFEST, ROOT


def build_output() -> Path:
    """The build output of e2e/kit/build.yaml; costs nothing when nothing has changed."""
    output = ROOT / "build" / "e2e"
    command = ["gatewright", "build", "--manifest", str(MANIFEST), "--output", str(output)]
    subprocess.run(command, check=True, timeout=BUILD_SECONDS)
    return output
