"""The release before this one, for upgrades: a commit of this repository, set up and built beside it, once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from e2e.kit.gateway import BUILD_SECONDS
from e2e.kit.places import ROOT

COMMIT = "7abde04bc8671e1058c0fc4351ae0e966afab873"
"""The first that has the chart. Its database is of version 8, and since then is one of version 9; its nodes do not know
`attached_to` of an API. The tag of a release takes its place once there is one."""
FOLDER = ROOT / "build" / "before" / COMMIT[:12]
SETUP_SECONDS = 900.0
ADD_HEADERS = "policies/add-headers"
RELEASE = Path(__file__).parent / "testdata" / "release"
"""Two versions of a policy, which say in a header which one answered: of the release before, and of this one."""


def checkout() -> Path:
    """The commit's files, with an environment of their own."""
    if not FOLDER.exists():
        half = FOLDER.with_name(f"{FOLDER.name}.half")
        half.mkdir(parents=True, exist_ok=True)
        archive = subprocess.run(["git", "archive", COMMIT], cwd=ROOT, capture_output=True, check=False)
        assert archive.returncode == 0, f"{COMMIT}: {archive.stderr.decode()}: fetch the whole history"
        subprocess.run(["tar", "-x", "-C", str(half)], input=archive.stdout, check=True)
        half.rename(FOLDER)
    subprocess.run([sys.executable, "tools/setup.py"], cwd=FOLDER, check=True, timeout=SETUP_SECONDS)
    return FOLDER


def build(checkout: Path, version: str) -> Path:
    """The output of a checkout's own builder. version: of the policy that says its version."""
    folder = ROOT / "build" / "rolling" / version
    folder.mkdir(parents=True, exist_ok=True)
    manifest, output = folder / "build.yaml", folder / "output"
    sources = {"add-headers": checkout / ADD_HEADERS, "release": RELEASE / version}
    lines = [f"  - {{name: {name}, filePath: {source}}}\n" for name, source in sources.items()]
    manifest.write_text(f"version: v1\npolicies:\n{''.join(lines)}")
    programs = checkout / ".venv" / "bin"
    command = [str(programs / "gatewright"), "build", "--manifest", str(manifest), "--output", str(output)]
    environment = os.environ | {"PATH": f"{programs}:{os.environ['PATH']}"}
    subprocess.run(command, cwd=checkout, env=environment, check=True, timeout=BUILD_SECONDS)
    return output
