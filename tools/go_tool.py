"""Programs in Go that this project is made and checked with: built once, from the Go module proxy, into .tools/go."""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class GoTool:
    """A command of a Go module, whose package is `module` with `command` behind it.

    The module is asked for, and not the package: the proxy serves modules, not every path in them.
    """

    name: str
    module: str
    command: str
    version: str

    def binary(self) -> Path:
        """The program's path; builds it where it is not there yet."""
        path = ROOT / ".tools" / "go" / f"{self.name}-{self.version}"
        if not path.exists():
            print(f"{self.name}: building {self.version} (minutes, once) …", file=sys.stderr, flush=True)
            self._build(path)
        return path

    def _build(self, path: Path) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            for command in (
                ("mod", "init", "scratch"),
                ("get", f"{self.module}@{self.version}"),
                ("build", "-mod=mod", "-trimpath", "-o", str(path), self.module + self.command),
            ):
                done = subprocess.run(["go", *command], cwd=scratch, check=False, capture_output=True, text=True)
                if done.returncode != 0:
                    raise SystemExit(f"{self.name}: failed: go {' '.join(command)}\n{done.stderr}")


@dataclass(frozen=True)
class HeldTool:
    """A command of a module of this repository, or one that it requires: its go.sum holds what all of it is built of.

    folder: the module's. package: the command's. tags: of the build.
    """

    name: str
    folder: str
    package: str
    tags: str = ""

    def binary(self) -> Path:
        """The program's path; builds it where it is not there yet, once for all who ask at the same time."""
        module = ROOT / self.folder
        files = [module / "go.mod", module / "go.sum", *sorted(module.glob("*.go"))]
        held = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]
        path = ROOT / ".tools" / "go" / f"{self.name}-{held}"
        path.parent.mkdir(parents=True, exist_ok=True)
        with (path.parent / f"{self.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not path.exists():
                print(f"{self.name}: building (minutes, once) …", file=sys.stderr, flush=True)
                self._build(module, path)
        return path

    def _build(self, module: Path, path: Path) -> None:
        scratch = path.with_suffix(".new")
        command = ["go", "build", "-tags", self.tags, "-o", str(scratch), self.package]
        environment = os.environ | {"GOWORK": "off", "CGO_ENABLED": "0"}
        done = subprocess.run(command, cwd=module, env=environment, check=False, capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"{self.name}: failed: {' '.join(command)}\n{done.stderr}")
        scratch.replace(path)


GOLANGCI_LINT = GoTool("golangci-lint", "github.com/golangci/golangci-lint/v2", "/cmd/golangci-lint", "v2.15.0")
ACTIONLINT = GoTool("actionlint", "github.com/rhysd/actionlint", "/cmd/actionlint", "v1.7.12")
PROTOC_GEN_GO = GoTool("protoc-gen-go", "google.golang.org/protobuf", "/cmd/protoc-gen-go", "v1.36.12")
PROTOC_GEN_GO_GRPC = GoTool("protoc-gen-go-grpc", "google.golang.org/grpc/cmd/protoc-gen-go-grpc", "", "v1.6.2")
PEBBLE = GoTool("pebble", "github.com/letsencrypt/pebble/v2", "/cmd/pebble", "v2.10.3")
CHALLTESTSRV = GoTool("pebble-challtestsrv", PEBBLE.module, "/cmd/pebble-challtestsrv", PEBBLE.version)
COLLECTOR = HeldTool("collector", "e2e/kit/programs/collector", ".")
OIDC_PROVIDER = HeldTool("oidc_provider", "e2e/kit/programs/oidc_provider", ".")
OPA = HeldTool("opa", "e2e/kit/programs/opa", ".")

PROMETHEUS_MODULE, PROMETHEUS_COMMANDS = "e2e/kit/programs/prometheus", "github.com/prometheus/prometheus/cmd"
WITHOUT_DISCOVERY = "remove_all_sd"  # of targets in clouds, which is most of what there is to compile
PROMETHEUS = HeldTool("prometheus", PROMETHEUS_MODULE, f"{PROMETHEUS_COMMANDS}/prometheus", WITHOUT_DISCOVERY)
PROMTOOL = HeldTool("promtool", PROMETHEUS_MODULE, f"{PROMETHEUS_COMMANDS}/promtool", WITHOUT_DISCOVERY)


def main(names: list[str]) -> None:
    """Prints the paths of programs that tests need, a line for each."""
    tools: tuple[GoTool | HeldTool, ...] = (
        PEBBLE, CHALLTESTSRV, COLLECTOR, OIDC_PROVIDER, OPA, PROMETHEUS, PROMTOOL,
    )  # fmt: skip
    known = {tool.name: tool for tool in tools}
    for name in names:
        print(known[name].binary())


if __name__ == "__main__":
    main(sys.argv[1:])
