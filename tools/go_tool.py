"""Programs in Go that this project is made and checked with: built once, from the Go module proxy, into .tools/go."""

from __future__ import annotations

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
class LocalGoTool:
    """A program of this repository's, in a module that stands in no workspace: what it needs, others do not."""

    name: str
    folder: str

    def binary(self) -> Path:
        """The program's path; builds it where its source has changed."""
        folder = ROOT / self.folder
        content = b"".join((folder / name).read_bytes() for name in ("main.go", "go.mod", "go.sum"))
        path = ROOT / ".tools" / "go" / f"{self.name}-{hashlib.sha256(content).hexdigest()[:16]}"
        if not path.exists():
            print(f"{self.name}: building (minutes, once) …", file=sys.stderr, flush=True)
            environment = os.environ | {"GOWORK": "off"}
            command = ["go", "build", "-trimpath", "-o", str(path), "."]
            done = subprocess.run(command, cwd=folder, env=environment, check=False, capture_output=True, text=True)
            if done.returncode != 0:
                raise SystemExit(f"{self.name}: failed: {' '.join(command)}\n{done.stderr}")
        return path


GOLANGCI_LINT = GoTool("golangci-lint", "github.com/golangci/golangci-lint/v2", "/cmd/golangci-lint", "v2.15.0")
ACTIONLINT = GoTool("actionlint", "github.com/rhysd/actionlint", "/cmd/actionlint", "v1.7.12")
PROTOC_GEN_GO = GoTool("protoc-gen-go", "google.golang.org/protobuf", "/cmd/protoc-gen-go", "v1.36.12")
PROTOC_GEN_GO_GRPC = GoTool("protoc-gen-go-grpc", "google.golang.org/grpc/cmd/protoc-gen-go-grpc", "", "v1.6.2")
PEBBLE = GoTool("pebble", "github.com/letsencrypt/pebble/v2", "/cmd/pebble", "v2.10.3")
CHALLTESTSRV = GoTool("pebble-challtestsrv", PEBBLE.module, "/cmd/pebble-challtestsrv", PEBBLE.version)
COLLECTOR = LocalGoTool("collector", "e2e/collector")


def main(name: str) -> None:
    """Prints the path of a program that tests need."""
    tools: dict[str, GoTool | LocalGoTool] = {tool.name: tool for tool in (PEBBLE, CHALLTESTSRV, COLLECTOR)}
    print(tools[name].binary())


if __name__ == "__main__":
    main(sys.argv[1])
