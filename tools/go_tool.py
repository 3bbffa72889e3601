"""Programs in Go that this project is made and tested with: builds those that are named, and prints their paths.

    python tools/go_tool.py pebble promtool

Each is a tool of a module of this repository: go.mod says which, and go.sum what it is built of. Checkouts share what
they have built of the same files: linking all of them takes more than a minute of CPU.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gatewright" / "go"
MODULES = {
    "actionlint": "tools/go",
    "collector": "e2e/kit/programs/collector",
    "echo-basic": "e2e/kubernetes/programs/conformance",
    "etcd": "e2e/kubernetes/programs/cluster",
    "gateway-api-conformance": "e2e/kubernetes/programs/conformance",
    "golangci-lint": "tools/go/golangci-lint",  # a module of its own: its releases are tested with their own versions
    "h2spec": "e2e/kit/programs/h2spec",
    "helm": "tools/go/helm",
    "kube-apiserver": "e2e/kubernetes/programs/cluster",
    "kube-controller-manager": "e2e/kubernetes/programs/cluster",
    "manifests": "tools/go/helm",
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
BUILD = ("go", "build", "-buildvcs=false", "-tags", WITHOUT_DISCOVERY)
BUILT_IN = {"GOWORK": "off", "CGO_ENABLED": "0"}
GO_SETTINGS = ("GOVERSION", "GOFLAGS", "GOEXPERIMENT", "GOOS", "GOARCH", "GOAMD64", "GOARM64")
"""The settings of `go env` about the compiler and the machine."""


def binary(name: str) -> Path:
    """The program's path. Where it is not there, all tools of its module are built."""
    module = ROOT / MODULES[name]
    home = CACHE / f"{module.name}-{digest_of(module)}"
    home.mkdir(parents=True, exist_ok=True)
    with (home / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / name).exists():
            print(f"{name}: building (minutes, once) …", file=sys.stderr, flush=True)
            build(module, home)
    return home / name


def digest_of(module: Path) -> str:
    """The digest of the inputs of a build: sources and versions, the command, the compiler and its settings."""
    digest = hashlib.sha256()
    for file in sorted([*module.glob("*.go"), module / "go.mod", module / "go.sum"]):
        digest.update(f"{file.name}\0".encode() + file.read_bytes())
    digest.update("\0".join([*BUILD, go_settings(module)]).encode())
    return digest.hexdigest()[:12]


def go_settings(module: Path) -> str:
    command = ["go", "env", *GO_SETTINGS]
    return subprocess.run(
        command, cwd=module, env=os.environ | BUILT_IN, check=True, capture_output=True, text=True
    ).stdout


def build(module: Path, home: Path) -> None:
    """Builds into another folder first: an interrupted build leaves no half of a program."""
    with tempfile.TemporaryDirectory(dir=home) as aside:
        command = [*BUILD, "-o", f"{aside}/", "tool"]
        result = subprocess.run(
            command, cwd=module, env=os.environ | BUILT_IN, check=False, capture_output=True, text=True
        )
        if result.returncode != 0:
            raise SystemExit(f"{module.name}: failed in {module}: {' '.join(command)}\n{result.stderr}")
        for program in Path(aside).iterdir():
            program.replace(home / program.name)


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        print(binary(argument))
