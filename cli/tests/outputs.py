"""Build outputs that the tests make by hand: enough for a generation, and for an executor that only listens."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from gatewright_cli.builds.build_output import BuildOutput, load

LISTENS = """
import signal, socket, sys
descriptor = int(sys.argv[sys.argv.index("--listen") + 1].removeprefix("fd:"))
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
server = socket.socket(fileno=descriptor)
while True:
    client, _ = server.accept()
    try: client.send(b"here")
    except OSError: pass # on a busy machine, the probe has gone
    client.close()
"""


def policy(name: str, version: str = "v1.0.0", runtime: str = "python", **changes: str) -> dict[str, str]:
    """An entry of manifest.json."""
    entry = {
        "name": name, "version": version, "runtime": runtime, "group": "default" if runtime == "python" else "",
        "definitionDigest": f"digest of {name}", "source": f"policies/{name}", "sourceDigest": "1",
    }  # fmt: skip
    return entry | changes


def write_output(folder: Path, *policies: dict[str, str], main: str = LISTENS) -> BuildOutput:
    """Makes it, or makes it anew in the way the builder does: new files in the old ones' places."""
    groups = sorted({entry["group"] for entry in policies if entry["runtime"] == "python"})
    for part in ("bin", "policy-definitions", "python-executor", "requirements"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    put(folder / "bin" / "policy-engine", "an engine")
    put(folder / "python-executor" / "main.py", main)
    for name in groups:
        put(folder / "requirements" / f"{name}.lock", "")
        put(folder / "python-executor" / f"{name}.py", "")
        python = folder / "python-env" / name / "bin" / "python"
        python.parent.mkdir(parents=True, exist_ok=True)
        put(python.parents[1] / "gatewright-inputs", "an interpreter")
        if not python.is_symlink():
            python.symlink_to(sys.executable)
    for entry in policies:
        put(folder / "policy-definitions" / f"{entry['name']}-{entry['version']}.yaml", f"name: {entry['name']}\n")
    running = {
        name: {
            "python": f"python-env/{name}/bin/python",
            "registry": f"python-executor/{name}.py",
            "digest": repr((main, [entry for entry in policies if entry["group"] == name])),
        }
        for name in groups
    }
    put(folder / "manifest.json", json.dumps({"version": 1, "policies": list(policies), "groups": running}))
    return load(folder)


def put(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    path.write_text(text)
