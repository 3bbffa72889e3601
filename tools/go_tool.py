"""Programs in Go that this project is made and tested with: builds those that are named, and prints their paths.

    python tools/go_tool.py pebble promtool

Each is a tool of a module of this repository: go.mod says which, and go.sum what it is built of. Go finds out by itself
what is up to date.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".tools" / "go"
MODULES = {
    "actionlint": "tools/go",
    "collector": "e2e/kit/programs/collector",
    "golangci-lint": "tools/go/golangci-lint",  # a module of its own: its releases are tested with their own versions
    "h2spec": "e2e/kit/programs/h2spec",
    "oidc_provider": "e2e/kit/programs/oidc_provider",
    "opa": "e2e/kit/programs/opa",
    "pebble": "e2e/kit/programs/pebble",
    "pebble-challtestsrv": "e2e/kit/programs/pebble",
    "prometheus": "e2e/kit/programs/prometheus",
    "promtool": "e2e/kit/programs/prometheus",
    "protoc-gen-go": "tools/go",
    "protoc-gen-go-grpc": "tools/go",
}
WITHOUT_DISCOVERY = "remove_all_sd"  # of Prometheus' targets in clouds, which is most of what there is to compile


def binary(name: str) -> Path:
    """The program's path. Where it is not up to date, all tools of its module are built."""
    module = ROOT / MODULES[name]
    HOME.mkdir(parents=True, exist_ok=True)
    with (HOME / f"{module.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (HOME / name).exists():
            print(f"{name}: building (minutes, once) …", file=sys.stderr, flush=True)
        command = ["go", "build", "-buildvcs=false", "-tags", WITHOUT_DISCOVERY, "-o", f"{HOME}/", "tool"]
        environment = os.environ | {"GOWORK": "off", "CGO_ENABLED": "0"}
        done = subprocess.run(command, cwd=module, env=environment, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{name}: failed in {MODULES[name]}: {' '.join(command)}\n{done.stderr}")
    return HOME / name


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        print(binary(argument))
